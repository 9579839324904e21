package edge

import (
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
)

func TestNeighbour(t *testing.T) {
	const table = `IP address       HW type     Flags       HW address            Mask     Device
10.77.0.58       0x1         0x2         52:54:00:12:34:56     *        eth0
10.77.0.5        0x1         0x0         52:54:00:00:00:05     *        eth0
10.77.0.6        0x1         0x6         52:54:00:00:00:06     *        br0
10.77.0.7        0x20        0x2         80:00:02:08:fe:80:00:00:00:00:00:00:52:54:00:00:00:00:00:07 *   ib0
10.77.0.8        damaged
`
	for address, want := range map[string]string{
		"10.77.0.58": "52:54:00:12:34:56 eth0", // complete
		"10.77.0.6":  "52:54:00:00:00:06 br0",  // made by hand
		"10.77.0.5":  "",                       // nobody answers
		"10.77.0.7":  "",                       // not Ethernet
		"10.77.0.8":  "",
		"10.77.0.9":  "", // not there
		"10.77.0":    "",
	} {
		a, _ := netip.ParseAddr(address)
		mac, device, ok := neighbour(table, a)
		if got := strings.TrimSpace(mac + " " + device); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", address, got, ok, want)
		}
	}
}

func FuzzNeighbour(f *testing.F) {
	f.Add("10.77.0.58 0x1 0x2 52:54:00:12:34:56 * eth0\n")
	f.Fuzz(func(t *testing.T, table string) {
		if mac, _, ok := neighbour(table, netip.MustParseAddr("10.77.0.58")); ok && len(mac) != 17 {
			t.Errorf("%q has the MAC %q", table, mac)
		}
	})
}

// What firmware says opens the window of its machine, and of no other; an operating system that asks for its address does not.
func TestWindowsOpenWhenFirmwareAsks(t *testing.T) {
	r := newRoomOf(t)
	p := &PXE{Edge: r.Edge, Loaders: map[string]string{snp: "/x"}}
	for _, c := range []struct {
		name, mac string
		options   []dhcpv4.Option
		want      bool
	}{
		{"an operating system", known, nil, false},
		{"firmware of a machine that nobody described", stranger, pxe("PXEClient:Arch:00007:UNDI:003000", 7), false},
		{"firmware", known, pxe("PXEClient:Arch:00007:UNDI:003000", 7), true},
	} {
		p.Decide(t.Context(), client(t, c.mac, dhcpv4.MessageTypeDiscover, c.options...))
		if _, got := r.windows.of(c.mac); got != c.want {
			t.Errorf("%s: a window is open: %v, want %v", c.name, got, c.want)
		}
	}
}

// An address that another server gave says nothing of itself: a machine is known by what answers for the address.
func TestNobodyIsBesideWhoDidNotBoot(t *testing.T) {
	if _, err := os.Stat(arpTable); err != nil {
		t.Skipf("%s is Linux's, and this is %s", arpTable, runtime.GOOS)
	}
	r := newRoomOf(t)
	for _, a := range []string{"192.0.2.1", "127.0.0.1", "::1"} {
		if b, ok := r.bound(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is bound to %+v", a, b)
		}
	}
	if w := r.get(t, "/latest/meta-data/hostname", "192.0.2.1"); w.Code != 403 {
		t.Errorf("a stranger is answered with %d", w.Code)
	}
	// What is known of an address that the edge did not give is never enough for secrets.
	r.windows.open(known, r.now().Add(intent.BootTime))
	if config.Seen(r.given, netip.MustParseAddr("192.0.2.1"), []string{known}) {
		t.Error("an address counts as given that was not")
	}
}
