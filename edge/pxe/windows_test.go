package pxe

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// What firmware says opens the window of its machine, and of no other; an operating system that asks for its address does not.
func TestWindowsOpenWhenFirmwareAsks(t *testing.T) {
	r := newRoomOf(t)
	p := r.dhcp(false, map[string]string{snp: "/x"})
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
		if _, got := r.Seen.Booting(c.mac); got != c.want {
			t.Errorf("%s: a window is open: %v, want %v", c.name, got, c.want)
		}
	}
}
