package edge

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// lease6 gives a machine its fixed address, if it may have that where it is now. Otherwise people are told why it gets none.
func (p *PXE6) lease6(c dhcp6.Client, boot *fleet.Boot, plan *dhcp6.Plan) bool {
	own, err := fleet.Address6(boot.Machine.GetAddress6())
	asks := c.Message == dhcpv6.MessageTypeSolicit
	switch {
	case err != nil && asks && boot.Machine.GetAddress6() == "":
		p.tell6(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, "it asks for an IPv6 address and is described with none; give it an address6")
		return false
	case err != nil:
		return false
	case c.Relayed && c.Link.IsValid() && !own.Contains(c.Link):
		if asks {
			p.tell6(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprintf("its address6 %s is not of the link of %s, where it is now; correct one of them", own, c.Link))
		}
		return false
	}
	plan.Authoritative = true
	plan.Lease = dhcp6.Lease{Address: own.Addr(), Preferred: leaseTime, Valid: 2 * leaseTime} // longer than all edges are likely to be away
	// What comes through a relay is not this edge's own to see.
	if c.Binds(plan.Rapid) && !c.Relayed && c.MAC != nil {
		p.Edge.seen.Gave(c.MAC.String(), own, p.Edge.now().Add(intent.BootTime))
	}
	return true
}

// fixed6 gives a machine its fixed address, unless that is better had out of a pool.
func (p *PXE6) fixed6(c dhcp6.Client, boot *fleet.Boot, plan *dhcp6.Plan) bool {
	own, err := fleet.Address6(boot.Machine.GetAddress6())
	if p.Pool == nil {
		return p.lease6(c, boot, plan)
	}
	if err != nil || !p.Pool.Fits6(c, p.heard(c), own.Addr()) || c.Relayed && c.Link.IsValid() && !own.Contains(c.Link) {
		return false
	}
	if holder, held := p.Pool.Holder(own.Addr()); held && !slices.ContainsFunc(boot.MACs(), func(mac string) bool { return holder == "mac "+mac }) {
		p.tell6(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprintf("its fixed address %s is still bound to %s; it gets another one until that has run out", own.Addr(), holder))
		return false
	}
	if !p.lease6(c, boot, plan) {
		return false
	}
	p.Pool.Fill6(c, own.Addr(), boot.Machine.GetLabels(), plan)
	return true
}

// heard is where a client is heard.
func (p *PXE6) heard(c dhcp6.Client) pool.Link {
	at := p.At[c.Ingress.Interface]
	return pool.Link{Own: at.Own, Networks: at.Networks}
}

// pooled6 is what a client in a subnet with pools is told; mine is false when it is in none.
func (p *PXE6) pooled6(ctx context.Context, c dhcp6.Client, boot *fleet.Boot) (plan dhcp6.Plan, mine bool) {
	if p.Pool == nil || !p.Full {
		return dhcp6.Plan{}, false
	}
	var machine *kilnv1.Machine
	host := ""
	if boot != nil && boot.Machine != nil {
		machine, host = boot.Machine, boot.Hostname()
	}
	link := p.heard(c)
	order, _ := p.turn(c)
	link.Rapid = order.Delay == 0
	a := p.Pool.Decide6(ctx, c, machine, host, link)
	if a.Why != "" {
		p.Edge.cfg.Log.Debug("no IPv6 address out of a pool", "client", c.String(), "message", c.Message, "why", a.Why)
	}
	if given := a.Plan.Lease.Address; a.Bound && !c.Relayed && c.MAC != nil {
		for _, n := range link.Networks {
			if n.Contains(given) {
				p.Edge.seen.Gave(c.MAC.String(), netip.PrefixFrom(given, n.Bits()), p.Edge.now().Add(intent.BootTime))
			}
		}
	}
	return a.Plan, a.Mine
}

// stranger6 is what a client is told that nobody described: nothing of what to boot. It is false where it gets no address either.
func (p *PXE6) stranger6(ctx context.Context, c dhcp6.Client) (dhcp6.Plan, bool) {
	order, answer := p.turn(c)
	if !answer {
		return dhcp6.Plan{}, p.Pool != nil && p.Full
	}
	plan, mine := p.pooled6(ctx, c, nil)
	plan.Delay, plan.Preference = order.Delay, order.Preference
	return plan, mine && plan.Mode != dhcp6.Silent
}
