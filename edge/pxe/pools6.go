package pxe

import (
	"context"
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pool"
)

// fixed gives a machine its fixed address.
func (d *DHCP6) fixed(c dhcp6.Client, f facts6, plan *dhcp6.Plan) {
	plan.Authoritative = true
	plan.Lease = dhcp6.Lease{Address: f.address.Addr(), Preferred: leaseTime, Valid: 2 * leaseTime} // longer than all edges are likely to be away
	// What comes through a relay is not this edge's own to see.
	if c.Binds(plan.Rapid) && !c.Relayed && c.MAC != nil {
		d.Machines.Seen.Gave(c.MAC.String(), f.address, time.Now().Add(intent.BootTime))
	}
}

// heard is where a client is heard.
func (d *DHCP6) heard(c dhcp6.Client) pool.Link {
	at := d.At[c.Ingress.Interface]
	return pool.Link{Own: at.Own, Networks: at.Networks}
}

// pooled6 is what a client in a subnet with pools is told; mine is false when it is in none.
func (d *DHCP6) pooled6(ctx context.Context, c dhcp6.Client, f facts6) (plan dhcp6.Plan, mine bool) {
	machine, host := described(f.boot)
	link := d.heard(c)
	link.Rapid = f.turn.wait == 0
	a := d.Pool.Decide6(ctx, c, machine, host, link)
	if a.Why != "" {
		d.Log.Debug("no IPv6 address out of a pool", "client", c.String(), "message", c.Message, "why", a.Why)
	}
	if given := a.Plan.Lease.Address; a.Bound && !c.Relayed && c.MAC != nil {
		for _, n := range link.Networks {
			if n.Contains(given) {
				d.Machines.Seen.Gave(c.MAC.String(), netip.PrefixFrom(given, n.Bits()), time.Now().Add(intent.BootTime))
			}
		}
	}
	return a.Plan, a.Mine
}
