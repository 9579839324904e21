package migrate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/migrate/leasefile"
)

// What importing costs grows as the file: with each subnet looked for among all others it would grow with the square.
func TestASubnetImportIsLinear(t *testing.T) {
	few, many := importSubnets(t, 500), importSubnets(t, 4_000)
	if many > 32*few+2*time.Second { // eight times as many; were it quadratic, 64 times as long
		t.Errorf("500 subnets took %v, 4,000 %v", few, many)
	}
}

// importSubnets imports so many subnets and says how long it took.
func importSubnets(t *testing.T, n int) time.Duration {
	t.Helper()
	file := &leasefile.File{}
	for i := range n {
		base := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		own, dns := base.As4(), base.As4()
		own[3], dns[3] = 200, 11
		file.Subnets = append(file.Subnets, leasefile.Subnet{Prefix: netip.PrefixFrom(base, 24), DNS: []netip.Addr{netip.AddrFrom4(dns)},
			Ranges: []leasefile.Range{{From: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 10}), To: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 99})}}})
		file.Reservations = append(file.Reservations, leasefile.Reservation{Address: netip.AddrFrom4(own), MACs: []string{fmt.Sprintf("52:54:00:00:%02x:%02x", i>>8, i&255)}})
	}
	begun := time.Now()
	o := NewConfig()
	o.Add(file)
	if _, err := o.YAML(); err != nil || len(o.subnets) != n || len(o.subnets[0].GetExclude()) != 1 {
		t.Fatalf("%d subnets, %v", len(o.subnets), err)
	}
	return time.Since(begun)
}
