package edge

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
)

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
		if _, got := r.seen.Booting(c.mac); got != c.want {
			t.Errorf("%s: a window is open: %v, want %v", c.name, got, c.want)
		}
	}
}

// An address that another server gave says nothing of itself: a machine is known by what answers for the address.
func TestNobodyIsBesideWhoDidNotBoot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("which MAC answers for an address is known on Linux only, and this is %s", runtime.GOOS)
	}
	r := newRoomOf(t)
	for _, a := range []string{"192.0.2.1", "127.0.0.1", "::1"} {
		if b, ok := r.seen.Bound(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is bound to %+v", a, b)
		}
	}
	if w := r.get(t, "/latest/meta-data/hostname", "192.0.2.1"); w.Code != 403 {
		t.Errorf("a stranger is answered with %d", w.Code)
	}
	// What is known of an address that the edge did not give is never enough for secrets.
	r.seen.Boots(known, r.now().Add(intent.BootTime))
	if config.Seen(r.seen.Given, netip.MustParseAddr("192.0.2.1"), []string{known}) {
		t.Error("an address counts as given that was not")
	}
}
