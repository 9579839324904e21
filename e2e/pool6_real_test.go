package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// watched is a client of DHCPv6 that goes on, and what it was told.
type watched struct {
	s    *site
	told string // its file: a line for each time
	stop func()
}

// dhclient6 starts ISC's client on a host.
func (s *site) dhclient6(host string) *watched {
	s.t.Helper()
	w := &watched{s: s, told: filepath.Join(s.dir, host+".told")}
	script, leases := filepath.Join(s.dir, host+".script"), filepath.Join(s.dir, host+".leases6")
	text := "#!/bin/sh\necho $reason $new_ip6_address $new_max_life $new_dhcp6_name_servers >>" + w.told + "\n" +
		"case $reason in BOUND6|RENEW6|REBIND6) ip -6 address replace $new_ip6_address/128 dev eth0 ;; PREINIT6) ip link set eth0 up ;; esac\nexit 0\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
	stop := s.start(host, "", "dhclient", "-6", "-d", "-v", "-D", "LL", "-sf", script, "-lf", leases, "-pf", filepath.Join(s.dir, host+".pid6"), "eth0")
	w.stop = func() { stop(syscall.SIGKILL) }
	return w
}

func (w *watched) lines() []string {
	text, _ := os.ReadFile(w.told)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// await waits until the client is told something again, behind what it was told before, and returns the address.
func (w *watched) await(what string, before int, reasons ...string) string {
	w.s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, line := range w.lines()[min(before, len(w.lines())):] {
			if fields := strings.Fields(line); len(fields) > 1 && slices.Contains(reasons, fields[0]) {
				return fields[1]
			}
		}
	}
	w.s.t.Fatalf("%s: the client was told %q", what, w.lines())
	return ""
}

// TestAddressesOfIPv6OutOfPools is TestAddressesOutOfPools over IPv6.
func TestAddressesOfIPv6OutOfPools(t *testing.T) {
	full(t)
	s := newSite(t, "dhclient", "dhcrelay")
	for _, a := range [][3]string{{"edge", "fd01::2/64", "eth0"}, {"edge", "fd09::2/64", "eth1"}, {"relay", "fd09::1/64", "eth0"}, {"relay", "fd02::1/64", "eth1"}} {
		s.must("ip", "-n", s.prefix+a[0], "address", "add", a[1], "dev", a[2], "nodad")
	}
	s.must("ip", "-n", s.prefix+"edge", "route", "add", "fd02::/64", "via", "fd09::1")
	var farm struct{ Admin string }
	if err := json.Unmarshal([]byte(s.must(s.kiln, "init", "--data", s.dir+"/c1", "--farm", "lab", "--id", "c1", "--json")), &farm); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(s.dir, "cache")
	coordinator := []string{s.kiln, "coordinator", "--data", s.dir + "/c1", "--listen", "10.1.0.2:7300", "--cache", store}
	stop := s.start("edge", "listening", coordinator...)
	room := s.room(farm.Admin)
	const lease = 20 // seconds: it is renewed after five to seven
	change := &kilnv1.RoomCommand{TokenKey: make([]byte, 32), Subnets: []*kilnv1.Subnet{
		{Name: "near", Prefix: "fd01::/64", Dns: []string{"fd01::53"}, LeaseSeconds: lease, Pools: []*kilnv1.AddressRange{{From: "fd01::1", To: "fd01::ffff:ffff:ffff:ffff"}}, Exclude: []*kilnv1.AddressRange{{From: "fd01::1", To: "fd01::ff"}}},
		{Name: "far", Prefix: "fd02::/64", Dns: []string{"fd02::53"}, LeaseSeconds: lease, Pools: []*kilnv1.AddressRange{{From: "fd02::100", To: "fd02::100"}}},
	}}
	var err error
	for range 100 { // the feature level is raised a moment after the start
		answer, failed := room.Change(t.Context(), connect.NewRequest(&kilnv1.ChangeRequest{Change: change}))
		if err = failed; err == nil {
			if problems := answer.Msg.GetProblems(); len(problems) > 0 {
				t.Fatal(problems)
			}
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(s.must("ip", "netns", "exec", s.prefix+"edge", s.kiln, "farm", "token", "--role", "edge", "--farm", "https://10.1.0.2:7300", "--credentials", farm.Admin))
	edge := []string{s.kiln, "edge", "--data", s.dir + "/e1", "--join", "10.1.0.2:7300", "--token", token, "--cache", store, "--interface", "eth0,eth1", "--dhcp", "off", "--dhcp6", "full"}
	stopEdge := s.start("edge", "machines boot here over IPv6", edge...)
	for _, host := range []string{"relay", "pc1", "pc2"} {
		for end := time.Now().Add(20 * time.Second); strings.Contains(s.must("ip", "-n", s.prefix+host, "-6", "address"), "tentative") && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
	}
	s.start("relay", "", "dhcrelay", "-6", "-d", "-I", "-pf", s.dir+"/relay6.pid", "-l", "eth1", "-u", "fd09::2%eth0")

	near, far := s.dhclient6("pc1"), s.dhclient6("pc2")
	address := near.await("a client on the segment", 0, "BOUND6")
	if got := far.await("a client behind a relay", 0, "BOUND6"); got != "fd02::100" || !strings.HasPrefix(address, "fd01::") {
		t.Fatalf("got %s and %s", address, got)
	}
	if first := near.lines()[len(near.lines())-1]; first != fmt.Sprintf("BOUND6 %s %d fd01::53", address, lease) {
		t.Errorf("the client on the segment was told %q", first)
	}
	renews := func(what string) {
		t.Helper()
		for _, w := range []*watched{near, far} {
			was := len(w.lines())
			if got := w.await(what, was, "RENEW6", "REBIND6"); got != map[*watched]string{near: address, far: "fd02::100"}[w] {
				t.Errorf("%s: got %s", what, got)
			}
		}
	}
	renews("a renewal")
	stop(syscall.SIGKILL)
	renews("without the farm")
	stopEdge(syscall.SIGTERM)
	s.start("edge", "machines boot here over IPv6", edge...)
	renews("without the farm, after a restart of the edge")

	far.stop()
	s.must("ip", "-n", s.prefix+"pc2", "link", "set", "eth0", "down")
	s.must("ip", "-n", s.prefix+"pc2", "link", "set", "eth0", "address", "02:00:00:00:00:77")
	s.must("ip", "-n", s.prefix+"pc2", "link", "set", "eth0", "up")
	time.Sleep(3 * time.Second) // until it may use its new address of the link
	if out, err := exec.Command("timeout", "8", "ip", "netns", "exec", s.prefix+"pc2", "dhclient", "-6", "-1", "-D", "LL", "-sf", "/bin/true", "-lf", s.dir+"/new.leases", "-pf", s.dir+"/new.pid", "eth0").CombinedOutput(); err == nil {
		t.Errorf("without the farm a new machine got an address: %s", out)
	}
	s.start("edge", "listening", coordinator...)
	was := len(near.lines())
	if got := near.await("the farm is back", was, "RENEW6", "REBIND6"); got != address {
		t.Errorf("the farm is back: got %s, want %s", got, address)
	}
}
