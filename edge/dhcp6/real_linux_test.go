package dhcp6

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/internal/lab"
)

// asServer has this program be a server on eth0 of the namespace that it was started in: "stateful", "stateless", or "everybody",
// which answers all machines and not the one.
const asServer = "KILN_DHCP6_TEST_SERVER"

func TestMain(m *testing.M) {
	if role := os.Getenv(asServer); role != "" {
		if err := beServer(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// renewAfter is when a client prolongs its address.
const renewAfter = 4 * time.Second

func beServer(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	plan := full(boots("http://[fd77::1]:7380/boot.ipxe"), func(p *Plan) { p.Lease.Preferred, p.Lease.Valid = renewAfter*2, time.Hour })
	if role == "stateless" {
		plan.Mode = Stateless
	}
	s := &Server{Interfaces: []string{"eth0"}, DUID: self, Log: log, Decide: func(_ context.Context, c Client) Plan {
		if role == "everybody" {
			return plan
		}
		fmt.Println(c.Message, c.MAC)
		if c.MAC.String() != pcMAC {
			return Plan{}
		}
		return plan
	}}
	prefix := dhcp.Prefix{Prefix: netip.MustParsePrefix("fd77::/64"), OnLink: true, Autonomous: role == "stateless", Valid: time.Hour, Preferred: time.Hour}
	advertiser := &dhcp.Advertiser{Interfaces: s.Interfaces, Log: log, Offers: map[string]dhcp.Offer{"eth0": {Managed: role == "stateful", Other: true, Prefixes: []dhcp.Prefix{prefix}}}}
	var advertises sync.WaitGroup
	advertises.Go(func() { fmt.Fprintln(os.Stderr, "advertiser:", advertiser.Serve(ctx)) })
	defer advertises.Wait()
	defer stop()
	return s.Serve(ctx)
}

// wire is a server and a client at the two ends of a cable, each in a namespace of its own.
type wire struct {
	prefix string
	heard  *lines
}

// lines are what a program says.
type lines struct {
	mu  sync.Mutex // guards all
	all []string
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.all, s)
}

func newWire(t *testing.T, role string) *wire {
	t.Helper()
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Skip("SKIPPED: no IPv6 in this kernel: ", err)
	}
	w := &wire{prefix: fmt.Sprintf("kdhcp6%d-", os.Getpid()), heard: &lines{}}
	for _, name := range []string{"edge", "pc"} {
		t.Cleanup(func() { exec.Command("ip", "netns", "delete", w.prefix+name).Run() })
		if out, err := exec.Command("ip", "netns", "add", w.prefix+name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w.ip(t, "edge", "link add eth0 type veth peer name eth0 netns "+w.prefix+"pc")
	w.ip(t, "pc", "link set eth0 address "+pcMAC)
	w.ip(t, "edge", "address add fd77::1/64 dev eth0 nodad")
	for _, name := range []string{"edge", "pc"} {
		w.ip(t, name, "link set lo up")
		w.ip(t, name, "link set eth0 up")
	}
	w.serve(t, role)
	return w
}

func (w *wire) ip(t *testing.T, name, args string) string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"-n", w.prefix + name}, strings.Fields(args)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// ready says whether hosts have addresses of the link, which the kernel makes when a link is up, and may use all that they have.
func (w *wire) ready(t *testing.T, hosts ...string) bool {
	t.Helper()
	for _, h := range hosts {
		if text := w.ip(t, h, "-6 address"); !strings.Contains(text, "fe80:") || strings.Contains(text, "tentative") {
			return false
		}
	}
	return true
}

// serve starts the edge, and waits until the addresses of the link may be used, by which clients ask.
func (w *wire) serve(t *testing.T, role string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !w.ready(t, "pc", "edge"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the addresses of the link are still being looked at")
		}
	}
	cmd := exec.Command("ip", "netns", "exec", w.prefix+"edge", program)
	cmd.Env = append(os.Environ(), asServer+"="+role)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			w.heard.add(scanner.Text())
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-read
		cmd.Wait()
		if t.Failed() {
			t.Logf("the edge:\n%s", log.String())
		}
	})
}

// run runs a client to its end.
func (w *wire) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.prefix + "pc"}, args...)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// dhclient writes what ISC's client is started with: a script that keeps what it is told in a file for each reason.
func dhclient(t *testing.T) (dir string, args []string) {
	t.Helper()
	if _, err := exec.LookPath("dhclient"); err != nil {
		t.Skip("SKIPPED: ", err, "; apt-get install --no-install-recommends isc-dhcp-client")
	}
	dir = t.TempDir()
	for name, text := range map[string]string{
		"conf": "option dhcp6.bootfile-url code 59 = text;\nalso request dhcp6.bootfile-url, dhcp6.name-servers, dhcp6.domain-search, dhcp6.sntp-servers;\n",
		"script": "#!/bin/sh\nenv >" + dir + "/$reason\n" + `case $reason in
BOUND6|RENEW6|REBIND6) ip -6 address replace $new_ip6_address/128 dev $interface ;;
PREINIT6) ip link set $interface up ;;
esac
exit 0
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, []string{"dhclient", "-6", "-v", "-D", "LL", "-cf", dir + "/conf", "-lf", dir + "/leases", "-pf", dir + "/pid", "-sf", dir + "/script"}
}

func wants(t *testing.T, file string, lines ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range lines {
		if !strings.Contains("\n"+string(text), "\n"+want+"\n") {
			t.Errorf("got no %s in\n%s", want, text)
		}
	}
}

// wantHeard waits for what the edge hears: a client that gives its address back does not wait for the answer.
func (w *wire) wantHeard(t *testing.T, messages ...string) {
	t.Helper()
	for _, m := range messages {
		for end := time.Now().Add(5 * renewAfter); !w.heard.has(m + " " + pcMAC); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the edge heard no %s; it heard %q", m, w.heard.all)
			}
		}
	}
}

func TestDhclientGetsItsAddress(t *testing.T) {
	dir, client := dhclient(t)
	w := newWire(t, "stateful")
	told := []string{"new_dhcp6_name_servers=fd77::53", "new_dhcp6_domain_search=example.org.", "new_dhcp6_bootfile_url=http://[fd77::1]:7380/boot.ipxe", "new_dhcp6_sntp_servers=fd77::123"}

	w.run(t, append(client, "-1", "eth0")...)
	wants(t, dir+"/BOUND6", append(told, "new_ip6_address=fd77::21", "new_preferred_life=8", "new_max_life=3600")...)
	w.wantHeard(t, "SOLICIT", "REQUEST")

	w.wantHeard(t, "RENEW")

	w.run(t, append(client, "-x")...) // ends it without giving the address back
	w.run(t, append(client, "-1", "eth0")...)
	wants(t, dir+"/BOUND6", "new_ip6_address=fd77::21")
	w.wantHeard(t, "CONFIRM")

	w.run(t, append(client, "-r", "eth0")...)
	w.wantHeard(t, "RELEASE")
}

func TestDhclientGetsOptions(t *testing.T) {
	dir, client := dhclient(t)
	w := newWire(t, "stateless")
	w.run(t, append(client, "-S", "-1", "eth0")...)
	wants(t, dir+"/RENEW6", "new_dhcp6_name_servers=fd77::53", "new_dhcp6_bootfile_url=http://[fd77::1]:7380/boot.ipxe")
	w.wantHeard(t, "INFORMATION-REQUEST")
	for end := time.Now().Add(20 * time.Second); !strings.Contains(w.ip(t, "pc", "-6 address"), "fd77::5054:ff:fe77:1/64"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the kernel made itself no address of the prefix that is advertised:\n%s", w.ip(t, "pc", "-6 address"))
		}
	}
}

// TestDhcpcdGoesByTheAdvertisement: it asks for an address only where a router says that there are some to be had.
func TestDhcpcdGoesByTheAdvertisement(t *testing.T) {
	if _, err := exec.LookPath("dhcpcd"); err != nil {
		t.Skip("SKIPPED: ", err, "; apt-get install --no-install-recommends dhcpcd-base")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"conf":   "duid ll\nipv6only\nslaac hwaddr\noption dhcp6_name_servers\n",
		"script": "#!/bin/sh\nenv >" + dir + "/$reason\n",
		// What it keeps it keeps in a file system that goes with it.
		"run": "#!/bin/sh\nmount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib/dhcpcd && exec timeout 40 dhcpcd -6 -1 -B -t 30 -f " + dir + "/conf -c " + dir + "/script eth0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := newWire(t, "stateful")
	w.run(t, dir+"/run")
	wants(t, dir+"/BOUND6", "new_dhcp6_ia_na1_ia_addr1=fd77::21", "new_dhcp6_name_servers=fd77::53")
	w.wantHeard(t, "SOLICIT", "REQUEST")
}

// TestDhclientBehindARelay: ISC's relay between the client and the edge, and no other way between them.
func TestDhclientBehindARelay(t *testing.T) {
	if _, err := exec.LookPath("dhcrelay"); err != nil {
		t.Skip("SKIPPED: ", err, "; apt-get install --no-install-recommends isc-dhcp-relay")
	}
	dir, client := dhclient(t)
	w := newWire(t, "stateful")
	name := w.prefix + "relay"
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", name).Run() })
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.ip(t, "pc", "link set eth0 netns "+name)
	w.ip(t, "relay", "link set eth0 name up0")
	w.ip(t, "relay", "link set up0 address 02:00:00:00:00:09")
	w.ip(t, "relay", "link add down0 type veth peer name eth0 netns "+w.prefix+"pc")
	w.ip(t, "relay", "address add fd77::9/64 dev up0 nodad")
	w.ip(t, "relay", "address add fd88::9/64 dev down0 nodad")
	w.ip(t, "pc", "link set eth0 address "+pcMAC)
	for _, link := range []string{"relay lo", "relay up0", "relay down0", "pc eth0"} {
		where, what, _ := strings.Cut(link, " ")
		w.ip(t, where, "link set "+what+" up")
	}
	for end := time.Now().Add(20 * time.Second); !w.ready(t, "pc", "relay"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the addresses of the link are still being looked at")
		}
	}
	relay := exec.Command("ip", "netns", "exec", name, "dhcrelay", "-6", "-d", "-I", "-pf", dir+"/relay.pid", "-l", "down0", "-u", "fd77::1%up0")
	var log bytes.Buffer
	relay.Stderr = &log
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		relay.Process.Signal(syscall.SIGTERM)
		relay.Wait()
		if t.Failed() {
			t.Logf("the relay:\n%s", log.String())
		}
	})
	w.run(t, append(client, "-1", "eth0")...)
	wants(t, dir+"/BOUND6", "new_ip6_address=fd77::21")
	w.wantHeard(t, "SOLICIT", "REQUEST")
	w.run(t, append(client, "-r", "eth0")...)
	w.wantHeard(t, "RELEASE")
}
