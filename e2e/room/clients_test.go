package room

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	clientLease = 24 * time.Second
	getsWithin  = 30 * time.Second
	lately      = 5 * time.Second // an edge takes no RELEASE of what its client has got just now
)

// stranger is a DHCP client that nobody here wrote.
type stranger struct {
	name, program, install string
	// start is its command line, in the foreground; dir is for its files.
	start func(dir string) []string
	// release is the signal upon which it gives its address back, or the command that has it do so.
	release syscall.Signal
	command func(dir string) []string
}

// script sets an interface as a client says, and nothing else of this host. What they call its variables differs.
const script = `#!/bin/sh
address=${new_ip_address:-$ip}
case ${reason:-$1} in
BOUND|RENEW|REBIND|REBOOT|bound|renew) ip address replace "$address/24" dev eth0 ;;
PREINIT|EXPIRE|FAIL|RELEASE|STOP|deconfig) ip link set eth0 up; ip -4 address flush dev eth0 ;;
esac
`

func dhclient(dir string, more ...string) []string {
	return append([]string{"dhclient", "-4", "-v", "-sf", dir + "/script", "-lf", dir + "/leases", "-pf", dir + "/pid"}, append(more, "eth0")...)
}

var strangers = []stranger{
	{name: "busybox udhcpc", program: "busybox", install: "busybox-static", release: syscall.SIGUSR2, start: func(dir string) []string {
		return []string{"busybox", "udhcpc", "-f", "-i", "eth0", "-s", dir + "/script", "-p", dir + "/pid", "-T", "2"}
	}},
	{name: "dhclient", program: "dhclient", install: "isc-dhcp-client",
		start:   func(dir string) []string { return dhclient(dir, "-d") },
		command: func(dir string) []string { return dhclient(dir, "-r") }},
	{name: "dhcpcd", program: "dhcpcd", install: "dhcpcd-base", release: syscall.SIGALRM, start: func(string) []string {
		return []string{"dhcpcd", "-4", "-B", "-L", "-c", "/bin/true", "-d", "eth0"}
	}},
	// Without udev it takes links as they are when /sys may not be written to. It gives the address back when it ends.
	{name: "systemd-networkd", program: "/lib/systemd/systemd-networkd", install: "systemd", release: syscall.SIGTERM, start: func(string) []string {
		return []string{"sh", "-ec", `
mount -o remount,ro /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nSendRelease=yes\n' >/run/systemd/network/eth0.network
chown -R systemd-network /run/systemd/netif
exec /lib/systemd/systemd-networkd`}
	}},
}

// TestClientsThatOthersWroteGetAddresses has each get an address, renew it and give it back, all at the same time.
func TestClientsThatOthersWroteGetAddresses(t *testing.T) {
	if os.Getenv("KILN_E2E") != "full" {
		t.Skip("it takes 40 s: make e2e does it (KILN_E2E=full)")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: the farm and its machines need networks of their own: ", err)
	}
	w := newWorld(t.Context(), t, t.TempDir(), 1, setting{edges: 2, addresses: 10, lease: clientLease, boot: clientLease})
	t.Run("each", func(t *testing.T) {
		for i, s := range strangers {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.try(t, w, fmt.Sprintf("m%d", i+1))
			})
		}
	})
}

func (s stranger) try(t *testing.T, w *world, name string) {
	if _, err := exec.LookPath(s.program); err != nil {
		t.Skipf("SKIPPED: %v; make e2e installs it, or run: apt-get install --no-install-recommends %s", err, s.install)
	}
	guest, err := w.network.Guest(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.IP("address", "flush", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	mac := strings.TrimSpace(said(t, guest, "cat", "/sys/class/net/eth0/address"))
	client := startIn(t, guest, filepath.Join(dir, "log"), s.start(dir)...)

	var first history.Entry
	await(t, s.name+" has an address that the farm knows", getsWithin, func(ctx context.Context) bool {
		e, ok := w.entry(ctx, t, mac, false)
		first = e
		return ok && e.Bound && strings.Contains(said(t, guest, "ip", "-4", "-o", "address", "show", "eth0"), e.Address.String()+"/24")
	})
	w.renewsAndGivesBack(t, s, guest, client, dir, first, mac)
}

// renewsAndGivesBack waits until the farm knows that a client has its address for longer, and no more. One that has no way to give
// it back only renews.
func (w *world) renewsAndGivesBack(t *testing.T, s stranger, guest *lab.Guest, client *exec.Cmd, dir string, first history.Entry, mac string) {
	t.Helper()
	six := first.Address.Is6()
	last := first.Left
	await(t, s.name+" renews", clientLease, func(ctx context.Context) bool {
		e, ok := w.entry(ctx, t, mac, six)
		if !ok || !e.Bound || e.Address != first.Address {
			t.Fatalf("it had %s, and now %+v", first.Address, e)
		}
		longer := e.Left > last
		last = e.Left
		return longer
	})
	if s.command == nil && s.release == 0 {
		return
	}
	time.Sleep(lately)
	if s.command != nil {
		t.Log(said(t, guest, s.command(dir)...))
	} else if err := client.Process.Signal(s.release); err != nil {
		t.Fatal(err)
	}
	await(t, s.name+" has given its address back", lately, func(ctx context.Context) bool {
		e, ok := w.entry(ctx, t, mac, six)
		return ok && !e.Bound
	})
}

// entry is what the farm's books say of a client over IPv4 or IPv6.
func (w *world) entry(ctx context.Context, t *testing.T, mac string, six bool) (history.Entry, bool) {
	t.Helper()
	books, err := w.books(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range books {
		if e.MAC == mac && e.Address.Is6() == six {
			return e, true
		}
	}
	return history.Entry{}, false
}

func await(t *testing.T, what string, most time.Duration, ok func(context.Context) bool) {
	t.Helper()
	for end := time.Now().Add(most); !ok(t.Context()); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", most, what)
		}
	}
	t.Log(what)
}

// said is what a program says in a guest's network.
func said(t *testing.T, g *lab.Guest, args ...string) string {
	t.Helper()
	args = g.Command(args...)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// startIn starts a program in a guest's network until the test ends.
func startIn(t *testing.T, g *lab.Guest, log string, args ...string) *exec.Cmd {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	args = g.Command(args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has ended, or ends, with its children
		_ = cmd.Wait()
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("%s", text)
		}
	})
	return cmd
}
