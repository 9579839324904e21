package edge

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// pooled is what a client in a subnet with pools is told when its turn is so; false when there is nothing to say of addresses.
func (p *PXE) pooled(ctx context.Context, c dhcp.Client, boot *fleet.Boot, wait time.Duration, answer bool) (dhcp.Plan, bool) {
	if p.Pool == nil || !p.Full || c.Ingress.Port == dhcp.BootPort { // there it asks for a file only
		return dhcp.Plan{}, false
	}
	if !answer {
		return dhcp.Plan{}, false
	}
	if wait > 0 {
		return dhcp.Plan{Delay: wait}, true
	}
	var machine *kilnv1.Machine
	host := ""
	if boot != nil && boot.Machine != nil {
		machine, host = boot.Machine, boot.Hostname()
	}
	a := p.Pool.Decide(ctx, c, machine, host)
	if !a.Mine || !a.Give && a.Refuse == "" {
		if a.Why != "" {
			p.Edge.cfg.Log.Debug("no address out of a pool", "mac", c.MAC, "message", c.Message, "why", a.Why)
		}
		return dhcp.Plan{}, a.Later || a.Mine && boot == nil && c.Kind == dhcp.Plain
	}
	plan := dhcp.Plan{Mode: dhcp.Full, Lease: a.Lease, Authoritative: true, Options: a.Options, Refuse: a.Refuse}
	plan.Lease.Routes = p.wayToMetadata(c, a.Lease.Address)
	if p.Logs.IsValid() {
		plan.Lease.Log = []netip.Addr{p.Logs}
	}
	if a.Bound && !c.Gateway.IsValid() && slices.ContainsFunc(c.Own, func(own netip.Prefix) bool { return own.Contains(a.Lease.Address.Addr()) }) {
		p.Edge.seen.Gave(c.MAC.String(), a.Lease.Address, p.Edge.now().Add(intent.BootTime))
	}
	return plan, true
}

// turn says when this edge answers: at once when the client means it, and otherwise in the order of the edges.
func (p *PXE) turn(c dhcp.Client) (wait time.Duration, answer bool) {
	if c.Late || c.Message == dhcpv4.MessageTypeRelease || c.Message == dhcpv4.MessageTypeDecline || c.ServerID.IsValid() || c.Direct() {
		return 0, true
	}
	return dhcp.Wait(dhcp.Rank(c.MAC, p.Edge.others.Order(p.Edge.now(), 4), p.Edge.cfg.URL), c.Waited())
}

// free says whether a machine may have its fixed address where it is now. One that another client still has is given when that
// one has gone; until then the machine gets one out of the pool, as does one that is in another network.
func (p *PXE) free(c dhcp.Client, boot *fleet.Boot, lease dhcp.Lease) bool {
	if p.Pool == nil {
		return true
	}
	if !p.Pool.Fits(c, lease.Address.Addr()) {
		return false
	}
	holder, held := p.Pool.Holder(lease.Address.Addr())
	if held && !slices.ContainsFunc(boot.MACs(), func(mac string) bool { return holder == "mac "+mac }) {
		p.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprintf("its fixed address %s is still bound to %s; it gets another one until that has run out", lease.Address.Addr(), holder))
		return false
	}
	return true
}

// fill adds to a fixed address what its subnet has and the machine does not say.
func (p *PXE) fill(c dhcp.Client, plan *dhcp.Plan) {
	if p.Pool != nil {
		plan.Options = p.Pool.Fill(c, &plan.Lease)
	}
}

// Edges is how many edges answer machines here, this one among them.
func (p *PXE) Edges() int {
	n := 1
	for _, u := range p.Edge.others.Order(p.Edge.now(), 4) {
		if u != p.Edge.cfg.URL {
			n++
		}
	}
	return n
}

// Tell reports what people should know of a client of a pool.
func (p *PXE) Tell(mac, what string) {
	event := &kilnv1.BootEvent{Mac: mac, Stage: kilnv1.BootStage_BOOT_STAGE_FAILED, Detail: what}
	if boot, _ := p.Edge.cfg.Intents.Index().Resolve(fleet.Identity{MAC: mac}); boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	p.Edge.cfg.Events.Add(event)
}
