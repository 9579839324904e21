package pxe

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// DHCP answers clients of DHCP over IPv4.
type DHCP struct {
	Machines *machines.Machines
	Programs Programs
	Log      *slog.Logger
	// Full gives addresses to machines that have one; otherwise a site's own server does that, and this one only says what
	// to boot (proxy DHCP).
	Full bool
	// Logs is where machines are told to log; the zero value: they are not told.
	Logs netip.Addr
	// Metadata are addresses of this host at which machines ask for their configuration as in a cloud; machines are told the
	// way there.
	Metadata []netip.Addr
	// Pool gives addresses to machines that have no fixed one; nil: the site's own server does.
	Pool *pool.Pool
}

const leaseTime = time.Hour // of a fixed address

// Decide says what a client of DHCP is told.
func (d *DHCP) Decide(ctx context.Context, c dhcp.Client) dhcp.Plan {
	f, lease := d.look(c)
	if f.boot != nil && c.Kind != dhcp.Plain { // also where another edge answers: the machine may ask this one later
		d.Machines.Seen.Boots(c.MAC.String(), time.Now().Add(intent.BootTime))
	}
	s := decide(c, f)
	if s.why != "" {
		d.fail(c, f.boot, s.why)
	}
	plan := dhcp.Plan{Mode: dhcp.Proxy}
	switch s.do {
	case silent:
		return dhcp.Plan{}
	case later:
		return dhcp.Plan{Delay: f.turn.wait}
	case fixed:
		plan = d.fixed(c, lease)
	case fromPool:
		pooled, said := d.pooled(ctx, c, f.boot)
		switch {
		case f.boot == nil: // nobody described it, and there is nothing to boot for such machines
			if !said || c.Kind != dhcp.Plain {
				d.fail(c, nil, fmt.Sprint(f.err))
			}
			return pooled
		case said && pooled.Mode == dhcp.Silent:
			return dhcp.Plan{}
		case said:
			plan = pooled
		}
	}
	plan, failed := d.Programs.withBoot(c, f, plan)
	if failed != nil {
		d.fail(c, f.boot, failed.Error())
	}
	if plan.Boot.File != "" && c.Message == dhcpv4.MessageTypeDiscover {
		d.tell(c, f.boot, kilnv1.BootStage_BOOT_STAGE_DHCP, fmt.Sprintf("%s (%s) is told %s", c.Kind, c.Arch.Name, plan.Boot.File))
	}
	return plan
}

// look finds out what is known of a client, and its fixed address with what belongs to that.
func (d *DHCP) look(c dhcp.Client) (f facts, lease dhcp.Lease) {
	f.boot, f.err = d.Machines.Resolve(fleet.Identity{MAC: c.MAC.String(), UUID: c.SystemUUID()})
	f.turn = d.turn(c)
	f.pools = d.Pool != nil && d.Full && c.Ingress.Port != dhcp.BootPort // there it asks for a file only
	if f.boot == nil || f.turn.wait > 0 || !f.turn.answer && c.Message == dhcpv4.MessageTypeDiscover {
		return f, lease
	}
	lease, ok := d.lease(c, f.boot)
	if !ok {
		return f, lease
	}
	f.address, f.fits = lease.Address.Addr(), true
	if d.Pool != nil {
		f.fits = d.Pool.Fits(c, f.address)
		f.holder = otherHolder(d.Pool, f.address, f.boot)
	}
	return f, lease
}

// otherHolder is another client than a machine that has an address of the pools; empty: none.
func otherHolder(p *pool.Pool, a netip.Addr, boot *fleet.Boot) string {
	holder, held := p.Holder(a)
	if !held || slices.ContainsFunc(boot.MACs(), func(mac string) bool { return holder == "mac "+mac }) {
		return ""
	}
	return holder
}

// fixed is what a machine is told that gets its own address.
func (d *DHCP) fixed(c dhcp.Client, lease dhcp.Lease) dhcp.Plan {
	plan := dhcp.Plan{Mode: dhcp.Full, Lease: lease, Authoritative: true}
	if d.Pool != nil { // what its subnet has and the machine does not say
		plan.Options = d.Pool.Fill(c, &plan.Lease)
	}
	if c.Message == dhcpv4.MessageTypeRequest || c.Message == dhcpv4.MessageTypeInform {
		d.Machines.Seen.Gave(c.MAC.String(), lease.Address, time.Now().Add(intent.BootTime))
	}
	return plan
}

// pooled is what a client in a subnet with pools is told; false when that says nothing of addresses.
func (d *DHCP) pooled(ctx context.Context, c dhcp.Client, boot *fleet.Boot) (dhcp.Plan, bool) {
	machine, host := described(boot)
	a := d.Pool.Decide(ctx, c, machine, host)
	plan, said := pooled(c, boot, a)
	if plan.Mode == dhcp.Silent {
		if a.Why != "" {
			d.Log.Debug("no address out of a pool", "mac", c.MAC, "message", c.Message, "why", a.Why)
		}
		return plan, said
	}
	plan.Lease.Routes = d.wayToMetadata(c, a.Lease.Address)
	if d.Logs.IsValid() {
		plan.Lease.Log = []netip.Addr{d.Logs}
	}
	if a.Bound && !c.Gateway.IsValid() && slices.ContainsFunc(c.Own, func(own netip.Prefix) bool { return own.Contains(a.Lease.Address.Addr()) }) {
		d.Machines.Seen.Gave(c.MAC.String(), a.Lease.Address, time.Now().Add(intent.BootTime))
	}
	return plan, true
}

// described is the machine and its host name for a pool; nil where nobody described it.
func described(boot *fleet.Boot) (machine *kilnv1.Machine, host string) {
	if boot == nil || boot.Machine == nil {
		return nil, ""
	}
	return boot.Machine, boot.Hostname()
}

// turn says when this edge answers: at once when the client means it, and otherwise in the order of the edges.
func (d *DHCP) turn(c dhcp.Client) (t turn) {
	if c.Late || c.Message == dhcpv4.MessageTypeRelease || c.Message == dhcpv4.MessageTypeDecline || c.ServerID.IsValid() || c.Direct() {
		return turn{answer: true}
	}
	t.wait, t.answer = dhcp.Wait(dhcp.Rank(c.MAC, d.Machines.Peers.Order(time.Now(), 4), d.Machines.URL), c.Waited())
	return t
}

// lease is the fixed address of a machine.
func (d *DHCP) lease(c dhcp.Client, boot *fleet.Boot) (dhcp.Lease, bool) {
	address, err := fleet.Address(boot.Machine.GetAddress())
	if err != nil || !d.Full {
		return dhcp.Lease{}, false
	}
	lease := dhcp.Lease{Address: address, Host: boot.Hostname(), Time: leaseTime}
	if d.Logs.IsValid() {
		lease.Log = []netip.Addr{d.Logs}
	}
	if router, err := netip.ParseAddr(boot.Machine.GetGateway()); err == nil {
		lease.Router = router
	}
	lease.Routes = d.wayToMetadata(c, address)
	for _, text := range boot.Machine.GetDns() {
		if a, err := netip.ParseAddr(text); err == nil {
			lease.DNS = append(lease.DNS, a)
		}
	}
	return lease, true
}

// wayToMetadata are routes to the metadata addresses, for a machine on a network of this host. Others have their routers.
func (d *DHCP) wayToMetadata(c dhcp.Client, machine netip.Prefix) []dhcp.Route {
	for _, own := range c.Own {
		if c.Gateway.IsValid() || !own.Contains(machine.Addr()) {
			continue
		}
		var routes []dhcp.Route
		for _, a := range d.Metadata {
			routes = append(routes, dhcp.Route{To: netip.PrefixFrom(a, a.BitLen()), Via: own.Addr()})
		}
		return routes
	}
	return nil
}

// tell reports what a client is told.
func (d *DHCP) tell(c dhcp.Client, boot *fleet.Boot, stage kilnv1.BootStage, detail string) {
	event := &kilnv1.BootEvent{Mac: c.MAC.String(), Uuid: c.SystemUUID(), Stage: stage, Detail: detail}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if c.Message == dhcpv4.MessageTypeDiscover || stage != kilnv1.BootStage_BOOT_STAGE_FAILED {
		d.Machines.Tell(event)
	}
}

// fail reports why a client is told nothing of what it wants.
func (d *DHCP) fail(c dhcp.Client, boot *fleet.Boot, why string) {
	d.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, why)
}
