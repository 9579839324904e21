package room

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

// script6 is script for IPv6. The kernel looks whether somebody has the address already.
const script6 = `#!/bin/sh
case ${reason:-$1} in
BOUND6|RENEW6|REBIND6) ip -6 address replace "$new_ip6_address/128" dev eth0 ;;
DEPREF6|EXPIRE6|RELEASE6|STOP6) ip -6 address delete "$old_ip6_address/128" dev eth0 ;;
PREINIT6) ip link set eth0 up ;;
esac
exit 0
`

func dhclient6(dir string, more ...string) []string {
	return append([]string{"dhclient", "-6", "-v", "-sf", dir + "/script", "-lf", dir + "/leases", "-pf", dir + "/pid"}, append(more, "eth0")...)
}

// strangers6 are clients of DHCPv6 that nobody here wrote. They call themselves by DUIDs of different kinds. busybox of Debian has no
// udhcpc6.
var strangers6 = []stranger{
	{name: "dhclient with a DUID of its link and time", program: "dhclient", install: "isc-dhcp-client",
		start:   func(dir string) []string { return dhclient6(dir, "-d", "-D", "LLT") },
		command: func(dir string) []string { return dhclient6(dir, "-r") }},
	{name: "dhcpcd with a DUID of its link", program: "dhcpcd", install: "dhcpcd-base", release: syscall.SIGALRM, start: func(dir string) []string {
		return []string{"sh", "-ec", `
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib/dhcpcd
printf 'duid ll\nipv6only\nslaac hwaddr\noption dhcp6_name_servers\n' >` + dir + `/conf
exec dhcpcd -6 -B -f ` + dir + `/conf -c /bin/true -d eth0`}
	}},
	// Before systemd 255 it gives no address of IPv6 back.
	{name: "systemd-networkd with a DUID of its own", program: "/lib/systemd/systemd-networkd", install: "systemd", start: func(string) []string {
		return []string{"sh", "-ec", `
mount -o remount,ro /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\n' >/run/systemd/network/eth0.network
chown -R systemd-network /run/systemd/netif
exec /lib/systemd/systemd-networkd`}
	}},
}

// TestClientsOfIPv6ThatOthersWroteGetAddresses has each get an address, renew it and give it back, all at the same time.
func TestClientsOfIPv6ThatOthersWroteGetAddresses(t *testing.T) {
	if os.Getenv("KILN_E2E") != "full" {
		t.Skip("it takes 40 s: make e2e does it (KILN_E2E=full)")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: the farm and its machines need networks of their own: ", err)
	}
	w := newWorld(t.Context(), t, t.TempDir(), 1, setting{edges: 2, addresses: 10, lease: clientLease, boot: clientLease, six: 10})
	t.Run("each", func(t *testing.T) {
		for i, s := range strangers6 {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.try6(t, w, "s"+string(rune('1'+i)))
			})
		}
	})
}

func (s stranger) try6(t *testing.T, w *world, name string) {
	if _, err := exec.LookPath(s.program); err != nil {
		t.Skipf("SKIPPED: %v; make e2e installs it, or run: apt-get install --no-install-recommends %s", err, s.install)
	}
	guest, err := w.network.Guest(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte(script6), 0o755); err != nil {
		t.Fatal(err)
	}
	mac := strings.TrimSpace(said(t, guest, "cat", "/sys/class/net/eth0/address"))
	await(t, s.name+" may use its address of the link", getsWithin, func(context.Context) bool {
		text := said(t, guest, "ip", "-6", "-o", "address", "show", "eth0")
		return strings.Contains(text, "fe80") && !strings.Contains(text, "tentative")
	})
	client := startIn(t, guest, filepath.Join(dir, "log"), s.start(dir)...)

	var first history.Entry
	await(t, s.name+" has an address that the farm knows", getsWithin, func(ctx context.Context) bool {
		e, ok := w.entry(ctx, t, mac, true)
		first = e
		return ok && e.Bound && strings.Contains(said(t, guest, "ip", "-6", "-o", "address", "show", "eth0"), e.Address.String()+"/")
	})
	if !pool6.Contains(first.Address) {
		t.Errorf("got %s, want one of %s", first.Address, pool6)
	}
	w.renewsAndGivesBack(t, s, guest, client, dir, first, mac)
}
