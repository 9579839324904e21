package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/subnets"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestSegmentsAndClasses(t *testing.T) {
	first := subnetOf("first", "10.1.0.0/24", "10.1.0.10-10.1.0.10")
	first.Options = []*kilnv1.DHCPOption{{Code: 224, Value: []byte("subnet")}, {Code: 225, Value: []byte("both")}, {Code: 54, Value: []byte{1, 2, 3, 4}}}
	first.Classes = []*kilnv1.ClientClass{
		{Name: "phones", VendorClass: "phone", Pools: []*kilnv1.AddressRange{{From: "10.1.0.50", To: "10.1.0.59"}}, LeaseSeconds: 1200, Options: []*kilnv1.DHCPOption{{Code: 224, Value: []byte("class")}}},
		{Name: "racks", Selector: map[string]string{"rack": "a"}, LeaseSeconds: 900},
	}
	second := subnetOf("second", "10.4.0.0/24", "10.4.0.10-10.4.0.10")
	only := subnetOf("only", "10.5.0.0/24", "10.5.0.10-10.5.0.10")
	only.KnownOnly = true
	both := []netip.Prefix{own, netip.MustParsePrefix("10.4.0.2/24")}
	rack := &kilnv1.Machine{Name: "m", Labels: map[string]string{"rack": "a"}}
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, newTestFarm(t, room(first, second, only)), "edge1")
		defer e.end()
		for i, c := range []struct {
			name    string
			in      packet
			own     []netip.Prefix
			machine *kilnv1.Machine
			want    string
			options string // 224 and 225
		}{
			{"a phone gets one of the phones' pool", packet{message: discover, class: "phone 7"}, both, nil, "20m0s in 10.1.0.50-10.1.0.59", "class both"},
			{"one that is described gets the time of its class", packet{message: discover}, both, rack, "15m0s in 10.1.0.10-10.1.0.10", "subnet both"},
			{"when a subnet of the segment is exhausted the next one gives", packet{message: discover}, both, nil, "1h0m0s in 10.4.0.10-10.4.0.10", " "},
			{"when all are nobody does", packet{message: discover}, both, nil, "silent: all free addresses are offered to others now", " "},
			{"a phone behind a relay that selects the subnet", packet{message: discover, class: "phone", giaddr: "10.9.0.1", subnet: []byte{10, 1, 0, 0}}, nil, nil, "20m0s in 10.1.0.50-10.1.0.59", "class both"},
			{"a stranger where none are served", packet{message: discover, giaddr: "10.5.0.1"}, nil, nil, "silent: subnet only is for machines that are described", " "},
			{"one that is described there", packet{message: discover, giaddr: "10.5.0.1"}, nil, rack, "1h0m0s in 10.5.0.10-10.5.0.10", " "},
			{"nobody knows the relay", packet{message: discover, giaddr: "10.77.0.1"}, nil, rack, "not mine", " "},
		} {
			c.in.mac = fmt.Sprintf("52:54:00:00:01:%02x", i)
			a := e.Decide(t.Context(), c.in.classify(t, c.own...), c.machine, "")
			got := show(a)
			for _, pools := range [][]string{{"10.1.0.10-10.1.0.10"}, {"10.1.0.50-10.1.0.59"}, {"10.4.0.10-10.4.0.10"}, {"10.5.0.10-10.5.0.10"}} {
				if a.Give && subnets.In(ofIPv4.Spans(subnetOf("", "", pools...).GetPools()), a.Lease.Address.Addr()) {
					got = fmt.Sprintf("%s in %s", a.Lease.Time, pools[0])
				}
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
			if options := string(a.Options[224]) + " " + string(a.Options[225]); options != c.options {
				t.Errorf("%s: got the options %q, want %q", c.name, options, c.options)
			}
			if a.Options[54] != nil {
				t.Errorf("%s: the subnet sets the server id", c.name)
			}
			if selected := a.Give && slices.Equal(a.Options[optSubnet], c.in.subnet); selected != (a.Give && len(c.in.subnet) > 0) && len(c.in.subnet) > 0 {
				t.Errorf("%s: got the selected subnet %x", c.name, a.Options[optSubnet])
			}
			time.Sleep(time.Second)
		}
	})
}
