package cli

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/edge/leasefile"
)

// What importing costs grows as the file: with each subnet looked for among all others it would take a minute.
func TestASubnetImportIsLinear(t *testing.T) {
	file := &leasefile.File{}
	for i := range 16_000 {
		base := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		own, dns := base.As4(), base.As4()
		own[3], dns[3] = 200, 11
		file.Subnets = append(file.Subnets, leasefile.Subnet{Prefix: netip.PrefixFrom(base, 24), DNS: []netip.Addr{netip.AddrFrom4(dns)},
			Ranges: []leasefile.Range{{From: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 10}), To: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 99})}}})
		file.Reservations = append(file.Reservations, leasefile.Reservation{Address: netip.AddrFrom4(own), MACs: []string{fmt.Sprintf("52:54:00:00:%02x:%02x", i>>8, i&255)}})
	}
	begun := time.Now()
	o := newOldConfig()
	o.add(file)
	if _, err := o.yaml(); err != nil || len(o.subnets) != 16_000 || len(o.subnets[0].GetExclude()) != 1 {
		t.Fatalf("%d subnets, %v", len(o.subnets), err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
