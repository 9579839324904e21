package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/lab"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// site is an edge with a segment of its own, and another one behind a relay. Each host is a network namespace.
type site struct {
	t      *testing.T
	kiln   string
	dir    string
	prefix string
}

func newSite(t *testing.T, programs ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: makes networks; not in -short")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED: %s is not installed; run: apt-get install --no-install-recommends busybox-static isc-dhcp-relay isc-dhcp-client", p)
		}
	}
	s := &site{t: t, dir: t.TempDir(), prefix: fmt.Sprintf("kpool%d-", os.Getpid())}
	var err error
	if s.kiln, err = lab.Build(t.Context(), s.dir); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"edge", "relay", "pc1", "pc2"} {
		s.must("ip", "netns", "add", s.prefix+host)
		t.Cleanup(func() { s.must("ip", "netns", "delete", s.prefix+host) })
		s.must("ip", "-n", s.prefix+host, "link", "set", "lo", "up")
	}
	s.cable("edge", "eth0", "10.1.0.2/24", "pc1", "eth0", "")
	s.cable("edge", "eth1", "10.9.0.2/24", "relay", "eth0", "10.9.0.1/24")
	s.cable("relay", "eth1", "10.2.0.1/24", "pc2", "eth0", "")
	s.must("ip", "-n", s.prefix+"edge", "route", "add", "10.2.0.0/24", "via", "10.9.0.1")
	s.must("ip", "netns", "exec", s.prefix+"relay", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	return s
}

func (s *site) must(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// cable connects two hosts.
func (s *site) cable(a, aName, aAddress, b, bName, bAddress string) {
	s.t.Helper()
	s.must("ip", "-n", s.prefix+a, "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", s.prefix+b)
	for _, end := range [][3]string{{a, aName, aAddress}, {b, bName, bAddress}} {
		if end[2] != "" {
			s.must("ip", "-n", s.prefix+end[0], "address", "add", end[2], "dev", end[1])
		}
		s.must("ip", "-n", s.prefix+end[0], "link", "set", end[1], "up")
	}
}

// start runs something on a host until the test ends or stop is called, and waits until it has said some words.
func (s *site) start(host, until string, command ...string) (stop func(how syscall.Signal)) {
	s.t.Helper()
	log := filepath.Join(s.dir, fmt.Sprintf("%s-%d.log", filepath.Base(command[0]), time.Now().UnixNano()))
	out, err := os.Create(log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("ip", append([]string{"netns", "exec", s.prefix + host}, command...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), "HOME="+s.dir)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	stopped := false
	stop = func(how syscall.Signal) {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(how)
			_ = cmd.Wait() // how it ends is not what this test is about
		}
	}
	s.t.Cleanup(func() {
		stop(syscall.SIGTERM)
		if s.t.Failed() {
			text, _ := os.ReadFile(log)
			s.t.Logf("%s on %s:\n%s", strings.Join(command, " "), host, text)
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if text, err := os.ReadFile(log); err == nil && strings.Contains(string(text), until) {
			return stop
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s did not say %q", command[0], until)
		}
	}
}

// room is the farm's API, asked from the edge's host.
func (s *site) room(credentials string) kilnv1connect.RoomServiceClient {
	s.t.Helper()
	who, err := pki.LoadCredentials(s.t.Context(), credentials)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: who.ClientTLS("h2", "http/1.1"), ForceAttemptHTTP2: true}
	transport.DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		runtime.LockOSThread() // the thread ends with its goroutine, in the other namespace
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			var there *os.File
			if there, err = os.Open("/run/netns/" + s.prefix + "edge"); err != nil {
				return
			}
			defer there.Close()
			if err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err == nil {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			}
		}()
		<-done
		runtime.UnlockOSThread()
		return conn, err
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return kilnv1connect.NewRoomServiceClient(&http.Client{Transport: transport}, "https://10.1.0.2:7300")
}

// lease has a client get an address, and returns what it was told.
func (s *site) lease(host string, more ...string) (map[string]string, error) {
	s.t.Helper()
	script, said := filepath.Join(s.dir, "script"), filepath.Join(s.dir, host)
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ $1 = bound ] || [ $1 = renew ] && env >"+s.dir+"/$HOST\nexit 0\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	os.Remove(said)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	args := append([]string{"netns", "exec", s.prefix + host, "busybox", "udhcpc", "-f", "-q", "-n", "-t", "6", "-T", "2", "-i", "eth0", "-s", script}, more...)
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Env = append(os.Environ(), "HOST="+host)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(said)
	if err != nil {
		return nil, errors.Join(err, errors.New(string(out)))
	}
	told := map[string]string{}
	for line := range strings.SplitSeq(string(text), "\n") {
		key, value, _ := strings.Cut(line, "=")
		told[key] = value
	}
	return told, nil
}

func (s *site) mustLease(name, host string, want map[string]string, more ...string) string {
	s.t.Helper()
	told, err := s.lease(host, more...)
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	for key, value := range want {
		if told[key] != value {
			s.t.Errorf("%s: got %s=%s, want %s", name, key, told[key], value)
		}
	}
	return told["ip"]
}

// TestAddressesOutOfPools: real clients, on the edge's segment and behind a real relay, get addresses that a real farm binds.
func TestAddressesOutOfPools(t *testing.T) {
	s := newSite(t, "busybox", "dhcrelay")
	var farm struct{ Admin string }
	if err := json.Unmarshal([]byte(s.must(s.kiln, "init", "--data", s.dir+"/c1", "--farm", "lab", "--id", "c1", "--json")), &farm); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(s.dir, "cache")
	coordinator := []string{s.kiln, "coordinator", "--data", s.dir + "/c1", "--listen", "10.1.0.2:7300", "--cache", store}
	stop := s.start("edge", "listening", coordinator...)
	room := s.room(farm.Admin)
	change := &kilnv1.RoomCommand{TokenKey: make([]byte, 32), Subnets: []*kilnv1.Subnet{
		{Name: "near", Prefix: "10.1.0.0/24", Gateway: "10.1.0.1", Dns: []string{"10.1.0.53"}, Domain: "near.example", LeaseSeconds: 3600, Pools: []*kilnv1.AddressRange{{From: "10.1.0.100", To: "10.1.0.199"}}},
		{Name: "far", Prefix: "10.2.0.0/24", Gateway: "10.2.0.1", LeaseSeconds: 7200, Pools: []*kilnv1.AddressRange{{From: "10.2.0.100", To: "10.2.0.199"}}},
	}}
	var err error
	for range 100 { // the feature level is raised a moment after the start
		if _, err = room.Change(t.Context(), connect.NewRequest(&kilnv1.ChangeRequest{Change: change})); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(s.must("ip", "netns", "exec", s.prefix+"edge", s.kiln, "farm", "token", "--role", "edge", "--farm", "https://10.1.0.2:7300", "--credentials", farm.Admin))
	edge := []string{s.kiln, "edge", "--data", s.dir + "/e1", "--join", "10.1.0.2:7300", "--token", token, "--cache", store, "--interface", "eth0,eth1", "--dhcp", "full", "--syslog=false"}
	stopEdge := s.start("edge", "machines boot here", edge...)
	s.start("relay", "", "dhcrelay", "-4", "-d", "-a", "-id", "eth1", "-iu", "eth0", "10.9.0.2")

	near := s.mustLease("a client on the segment", "pc1", map[string]string{"mask": "24", "router": "10.1.0.1", "dns": "10.1.0.53", "domain": "near.example", "lease": "3600", "serverid": "10.1.0.2"})
	far := s.mustLease("a client behind a relay", "pc2", map[string]string{"mask": "24", "router": "10.2.0.1", "lease": "7200"})
	if !strings.HasPrefix(near, "10.1.0.1") || !strings.HasPrefix(far, "10.2.0.1") {
		t.Fatalf("got %s and %s", near, far)
	}
	s.mustLease("firmware of the same machine", "pc1", map[string]string{"ip": near, "lease": "600"}, "-V", "PXEClient", "-x", "0x3d:ff112233")
	s.mustLease("after a restart it asks for the same", "pc2", map[string]string{"ip": far}, "-r", far)
	s.mustLease("another machine's address is not given", "pc2", map[string]string{"ip": far}, "-r", "10.2.0.199")
	free := func(prefix, but string) string { // of the first block
		if but == prefix+"100" {
			return prefix + "101"
		}
		return prefix + "100"
	}
	s.conflict("near", "pc1", "pc1", free("10.1.0.", near)) // by ARP
	s.conflict("far", "pc2", "relay", free("10.2.0.", far)) // by ICMP echo
	if _, err := exec.LookPath("dhclient"); err == nil {
		s.dhclient("pc1", near)
	} else {
		t.Log("SKIPPED: dhclient is not installed")
	}

	stop(syscall.SIGKILL)
	if told, err := s.lease("pc2", "-x", "0x3d:01"); err == nil {
		t.Errorf("without the farm a DISCOVER brought %s", told["ip"])
	}
	stopEdge(syscall.SIGTERM)
	stopEdge = s.start("edge", "machines boot here", edge...)
	s.dhclientRenews("pc1", near)
	s.start("edge", "listening", coordinator...)
	time.Sleep(2 * time.Second)
	s.mustLease("the farm is back", "pc2", map[string]string{"ip": far})
	stopEdge(syscall.SIGTERM)
}

// conflict has a new machine ask for an address of the pool that somebody uses.
func (s *site) conflict(subnet, host, user, address string) {
	s.t.Helper()
	nic := map[string]string{"pc1": "eth0", "relay": "eth1"}[user]
	mac := strings.TrimSpace(s.must("ip", "netns", "exec", s.prefix+host, "cat", "/sys/class/net/eth0/address"))
	s.must("ip", "-n", s.prefix+user, "address", "add", address+"/24", "dev", nic)
	s.must("ip", "-n", s.prefix+host, "link", "set", "eth0", "address", "02:00:00:00:00:77")
	told, err := s.lease(host, "-r", address)
	if err != nil || told["ip"] == address {
		s.t.Errorf("subnet %s: %s is in use, and a machine that asked for it got %q, %v", subnet, address, told["ip"], err)
	}
	s.must("ip", "-n", s.prefix+user, "address", "del", address+"/24", "dev", nic)
	s.must("ip", "-n", s.prefix+host, "link", "set", "eth0", "address", mac)
}

const dhclientConf = "timeout 20;\nretry 1;\nsend dhcp-client-identifier 00:11:22:33;\nrequest subnet-mask, routers;\n"

// dhclient gets a lease from nothing.
func (s *site) dhclient(host, want string) {
	s.t.Helper()
	conf, leases := filepath.Join(s.dir, "dhclient.conf"), filepath.Join(s.dir, host+".leases")
	if err := errors.Join(os.WriteFile(conf, []byte(dhclientConf), 0o644), os.WriteFile(leases, nil, 0o644)); err != nil {
		s.t.Fatal(err)
	}
	s.runDhclient(host, conf, leases)
	if text, _ := os.ReadFile(leases); !strings.Contains(string(text), "fixed-address "+want+";") {
		s.t.Errorf("dhclient: got, instead of %s,\n%s", want, text)
	}
}

// dhclientRenews has the client start anew with the lease that it has (INIT-REBOOT), which needs no farm.
func (s *site) dhclientRenews(host, want string) {
	s.t.Helper()
	conf, leases := filepath.Join(s.dir, "dhclient.conf"), filepath.Join(s.dir, host+".leases")
	before, err := os.ReadFile(leases)
	if err != nil {
		return // there is no dhclient here
	}
	out := s.runDhclient(host, conf, leases)
	after, _ := os.ReadFile(leases)
	if !strings.Contains(out, "DHCPACK of "+want) || len(after) <= len(before) {
		s.t.Errorf("without the farm, after a restart of the edge: dhclient said\n%s", out)
	}
}

func (s *site) runDhclient(host, conf, leases string) string {
	s.t.Helper()
	pid := filepath.Join(s.dir, host+".pid")
	log, err := os.Create(filepath.Join(s.dir, "dhclient.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	in := []string{"60", "ip", "netns", "exec", s.prefix + host, "dhclient", "-4", "-pf", pid}
	cmd := exec.CommandContext(s.t.Context(), "timeout", append(in, "-1", "-v", "-sf", "/bin/true", "-cf", conf, "-lf", leases, "eth0")...)
	cmd.Stdout, cmd.Stderr = log, log // a file: it goes on in the background when it has a lease
	if err := cmd.Run(); err != nil {
		s.t.Logf("dhclient: %v", err)
	}
	_ = exec.CommandContext(s.t.Context(), "timeout", append(in, "-x")...).Run() // it keeps its lease
	out, err := os.ReadFile(log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}
