package pxe

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/pool"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// manyFarm lends and binds whatever is asked for.
type manyFarm struct{ oneFarm }

func (f *manyFarm) Grant(context.Context, string, string, uint32) (lent []netip.Addr, life time.Duration, err error) {
	for a := netip.MustParseAddr("10.0.1.0"); len(lent) < 512; a = a.Next() {
		lent = append(lent, a)
	}
	return lent, time.Minute, nil
}

// edgesOf are the URLs of some edges, each over IPv4 and over IPv6, as the farm tells them.
func edgesOf(n int) (urls []string) {
	for i := range n {
		urls = append(urls, fmt.Sprintf("http://10.0.0.%d:7380", i+1), fmt.Sprintf("http://[fd77::%d]:7380", i+1))
	}
	return urls
}

// withPools is an edge at two URLs with a pool of each family.
func withPools(t *testing.T, urls []string) (*roomOf, *DHCP, *DHCP6) {
	t.Helper()
	r, p6 := newRoom6(t)
	r.URL, p6.URL = urls[ipv4], urls[ipv6]
	in := proto.CloneOf(r.Intents.Now())
	in.Subnets = []*kilnv1.Subnet{
		{Name: "a", Prefix: "10.0.0.0/16", Pools: []*kilnv1.AddressRange{{From: "10.0.1.0", To: "10.0.4.255"}}},
		{Name: "b", Prefix: "fd77::/64", Pools: []*kilnv1.AddressRange{{From: "fd77::1:0", To: "fd77::1:ffff"}}},
	}
	in.Revision++
	r.Intents.Set(in)
	p := r.dhcp(true, nil)
	p.Pool = pool.New(pool.Config{Edge: urls[ipv4], Farm: &manyFarm{oneFarm{bound: map[string]string{}}}, Edges: r.Answering, Log: quiet})
	p.Pool.Set(in)
	p6.Pool = p.Pool
	return r, p, p6
}

// Families in counts.
const (
	ipv4 = iota
	ipv6
)

// answersOf is how an edge treats clients of its pools that have not waited yet, over IPv4 and IPv6: how many it answers at once,
// how many after a wait, and how many not at all.
func answersOf(t *testing.T, p *DHCP, p6 *DHCP6, clients int) (now, later, never [2]int) {
	t.Helper()
	for i := range clients {
		mac := fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256)
		c := client(t, mac, dhcpv4.MessageTypeDiscover)
		c.Own = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/16")}
		plan, plan6 := p.Decide(t.Context(), c), p6.Decide(t.Context(), client6(t, mac, "", dhcpv6.MessageTypeSolicit))
		count := func(family int, answered bool, wait time.Duration) {
			switch {
			case wait > 0:
				later[family]++
			case answered:
				now[family]++
			default:
				never[family]++
			}
		}
		count(ipv4, plan.Mode == dhcp.Full, plan.Delay)
		count(ipv6, plan6.Lease.Address.IsValid(), plan6.Delay)
	}
	return now, later, never
}

// Of three edges two died a minute ago, and the farm told the third so: it answers all clients of its pools at once.
func TestTheOnlyEdgeThatLivesAnswersAtOnce(t *testing.T) {
	all := edgesOf(3)
	r, p, p6 := withPools(t, all[:2])
	r.Peers.Set(all, time.Now().Add(-2*time.Minute))
	r.Peers.Set(all[:2], time.Now().Add(-time.Minute))
	now, later, never := answersOf(t, p, p6, 300)
	if now != [2]int{300, 300} {
		t.Errorf("of 300 clients (IPv4, IPv6) are answered at once %d, after a wait %d, not at all %d", now, later, never)
	}
	if got := r.Answering(); got != 1 {
		t.Errorf("%d edges share what a pool leaves to machines that are described, want 1", got)
	}
	if got := len(r.Edges()); got != 3 {
		t.Errorf("scripts name %d edges, want 3", got)
	}
}

// Twelve edges live: one of them answers a client of a pool at once, and one after a wait.
func TestOneOfManyEdgesAnswersAtOnce(t *testing.T) {
	const edges, clients = 12, 100
	all := edgesOf(edges)
	var now, later [2]int
	for i := range edges {
		r, p, p6 := withPools(t, all[2*i:2*i+2])
		r.SetOthers(all)
		n, l, _ := answersOf(t, p, p6, clients)
		for family := range 2 {
			now[family] += n[family]
			later[family] += l[family]
		}
		if got := r.Answering(); got != edges && i == 0 {
			t.Errorf("%d edges share what a pool leaves to machines that are described, want %d", got, edges)
		}
	}
	if now != [2]int{clients, clients} || later != [2]int{clients, clients} {
		t.Errorf("%d edges answer %d clients (IPv4, IPv6) %d times at once and %d times after a wait", edges, clients, now, later)
	}
}
