package pxe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// lease6 gives a machine its fixed address, if it may have that where it is now. Otherwise people are told why it gets none.
func (d *DHCP6) lease6(c dhcp6.Client, boot *fleet.Boot, plan *dhcp6.Plan) bool {
	own, err := fleet.Address6(boot.Machine.GetAddress6())
	asks := c.Message == dhcpv6.MessageTypeSolicit
	switch {
	case err != nil && asks && boot.Machine.GetAddress6() == "":
		d.tell6(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, "it asks for an IPv6 address and is described with none; give it an address6")
		return false
	case err != nil:
		return false
	case c.Relayed && c.Link.IsValid() && !own.Contains(c.Link):
		if asks {
			d.tell6(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprintf("its address6 %s is not of the link of %s, where it is now; correct one of them", own, c.Link))
		}
		return false
	}
	plan.Authoritative = true
	plan.Lease = dhcp6.Lease{Address: own.Addr(), Preferred: leaseTime, Valid: 2 * leaseTime} // longer than all edges are likely to be away
	// What comes through a relay is not this edge's own to see.
	if c.Binds(plan.Rapid) && !c.Relayed && c.MAC != nil {
		d.Machines.Seen.Gave(c.MAC.String(), own, time.Now().Add(intent.BootTime))
	}
	return true
}

// fixed6 gives a machine its fixed address, unless that is better had out of a pool.
func (d *DHCP6) fixed6(c dhcp6.Client, boot *fleet.Boot, plan *dhcp6.Plan) bool {
	own, err := fleet.Address6(boot.Machine.GetAddress6())
	if d.Pool == nil {
		return d.lease6(c, boot, plan)
	}
	if err != nil || !d.Pool.Fits6(c, d.heard(c), own.Addr()) || c.Relayed && c.Link.IsValid() && !own.Contains(c.Link) {
		return false
	}
	if holder, held := d.Pool.Holder(own.Addr()); held && !slices.ContainsFunc(boot.MACs(), func(mac string) bool { return holder == "mac "+mac }) {
		d.tell6(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprintf("its fixed address %s is still bound to %s; it gets another one until that has run out", own.Addr(), holder))
		return false
	}
	if !d.lease6(c, boot, plan) {
		return false
	}
	d.Pool.Fill6(c, own.Addr(), boot.Machine.GetLabels(), plan)
	return true
}

// heard is where a client is heard.
func (d *DHCP6) heard(c dhcp6.Client) pool.Link {
	at := d.At[c.Ingress.Interface]
	return pool.Link{Own: at.Own, Networks: at.Networks}
}

// pooled6 is what a client in a subnet with pools is told; mine is false when it is in none.
func (d *DHCP6) pooled6(ctx context.Context, c dhcp6.Client, boot *fleet.Boot) (plan dhcp6.Plan, mine bool) {
	if d.Pool == nil || !d.Full {
		return dhcp6.Plan{}, false
	}
	var machine *kilnv1.Machine
	host := ""
	if boot != nil && boot.Machine != nil {
		machine, host = boot.Machine, boot.Hostname()
	}
	link := d.heard(c)
	order, _ := d.turn(c)
	link.Rapid = order.Delay == 0
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

// stranger6 is what a client is told that nobody described: nothing of what to boot. It is false where it gets no address either.
func (d *DHCP6) stranger6(ctx context.Context, c dhcp6.Client) (dhcp6.Plan, bool) {
	order, answer := d.turn(c)
	if !answer {
		return dhcp6.Plan{}, d.Pool != nil && d.Full
	}
	plan, mine := d.pooled6(ctx, c, nil)
	plan.Delay, plan.Preference = order.Delay, order.Preference
	return plan, mine && plan.Mode != dhcp6.Silent
}
