package seen

import (
	"net/netip"
	"strings"
	"testing"
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
