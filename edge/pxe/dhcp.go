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
	mac := c.MAC.String()
	boot, err := d.Machines.Resolve(fleet.Identity{MAC: mac, UUID: c.SystemUUID()})
	wait, answer := d.turn(c)
	if boot == nil { // nobody described it, and there is nothing for such machines
		plan, ok := d.pooled(ctx, c, nil, wait, answer)
		if plan.Delay == 0 && (!ok || c.Kind != dhcp.Plain) {
			d.tell(c, nil, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprint(err))
		}
		return plan
	}
	if c.Kind != dhcp.Plain { // also where another edge answers: the machine may ask this one later
		d.Machines.Seen.Boots(mac, time.Now().Add(intent.BootTime))
	}
	if !answer && !c.ServerID.IsValid() && c.Message == dhcpv4.MessageTypeDiscover {
		return dhcp.Plan{}
	}
	if wait > 0 {
		return dhcp.Plan{Delay: wait}
	}
	plan := dhcp.Plan{Mode: dhcp.Proxy}
	if lease, ok := d.lease(c, boot); ok && d.free(c, boot, lease) {
		plan.Mode, plan.Lease, plan.Authoritative = dhcp.Full, lease, true
		d.fill(c, &plan)
		if c.Message == dhcpv4.MessageTypeRequest || c.Message == dhcpv4.MessageTypeInform {
			d.Machines.Seen.Gave(mac, lease.Address, time.Now().Add(intent.BootTime))
		}
	} else if pooled, ok := d.pooled(ctx, c, boot, wait, answer); ok {
		plan = pooled
		if plan.Delay > 0 {
			return plan
		}
		if plan.Mode == dhcp.Silent && plan.Refuse == "" {
			return plan
		}
	}
	if plan.Refuse != "" {
		return plan
	}
	if c.Kind != dhcp.Plain && !boot.LocalDisk {
		if err != nil {
			d.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error())
		} else if plan.Boot.File, err = d.Programs.bootFile(c, boot); err != nil {
			d.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error())
		}
	}
	if plan.Mode == dhcp.Proxy && plan.Boot.File == "" {
		return dhcp.Plan{}
	}
	if plan.Boot.File != "" && c.Message == dhcpv4.MessageTypeDiscover {
		d.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_DHCP, fmt.Sprintf("%s (%s) is told %s", c.Kind, c.Arch.Name, plan.Boot.File))
	}
	return plan
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

// pooled is what a client in a subnet with pools is told when its turn is so; false when there is nothing to say of addresses.
func (d *DHCP) pooled(ctx context.Context, c dhcp.Client, boot *fleet.Boot, wait time.Duration, answer bool) (dhcp.Plan, bool) {
	if d.Pool == nil || !d.Full || c.Ingress.Port == dhcp.BootPort { // there it asks for a file only
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
	a := d.Pool.Decide(ctx, c, machine, host)
	if !a.Mine || !a.Give && a.Refuse == "" {
		if a.Why != "" {
			d.Log.Debug("no address out of a pool", "mac", c.MAC, "message", c.Message, "why", a.Why)
		}
		return dhcp.Plan{}, a.Later || a.Mine && boot == nil && c.Kind == dhcp.Plain
	}
	plan := dhcp.Plan{Mode: dhcp.Full, Lease: a.Lease, Authoritative: true, Options: a.Options, Refuse: a.Refuse}
	plan.Lease.Routes = d.wayToMetadata(c, a.Lease.Address)
	if d.Logs.IsValid() {
		plan.Lease.Log = []netip.Addr{d.Logs}
	}
	if a.Bound && !c.Gateway.IsValid() && slices.ContainsFunc(c.Own, func(own netip.Prefix) bool { return own.Contains(a.Lease.Address.Addr()) }) {
		d.Machines.Seen.Gave(c.MAC.String(), a.Lease.Address, time.Now().Add(intent.BootTime))
	}
	return plan, true
}

// turn says when this edge answers: at once when the client means it, and otherwise in the order of the edges.
func (d *DHCP) turn(c dhcp.Client) (wait time.Duration, answer bool) {
	if c.Late || c.Message == dhcpv4.MessageTypeRelease || c.Message == dhcpv4.MessageTypeDecline || c.ServerID.IsValid() || c.Direct() {
		return 0, true
	}
	return dhcp.Wait(dhcp.Rank(c.MAC, d.Machines.Peers.Order(time.Now(), 4), d.Machines.URL), c.Waited())
}

// free says whether a machine may have its fixed address where it is now. One that another client still has is given when that
// one has gone; until then the machine gets one out of the pool, as does one that is in another network.
func (d *DHCP) free(c dhcp.Client, boot *fleet.Boot, lease dhcp.Lease) bool {
	if d.Pool == nil {
		return true
	}
	if !d.Pool.Fits(c, lease.Address.Addr()) {
		return false
	}
	holder, held := d.Pool.Holder(lease.Address.Addr())
	if held && !slices.ContainsFunc(boot.MACs(), func(mac string) bool { return holder == "mac "+mac }) {
		d.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprintf("its fixed address %s is still bound to %s; it gets another one until that has run out", lease.Address.Addr(), holder))
		return false
	}
	return true
}

// fill adds to a fixed address what its subnet has and the machine does not say.
func (d *DHCP) fill(c dhcp.Client, plan *dhcp.Plan) {
	if d.Pool != nil {
		plan.Options = d.Pool.Fill(c, &plan.Lease)
	}
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
