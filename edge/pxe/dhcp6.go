package pxe

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/peers"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// DHCP6 answers clients of DHCPv6.
type DHCP6 struct {
	Machines *machines.Machines
	Programs Programs
	Log      *slog.Logger
	// Full gives machines that have an address6 that one, and others one out of Pool. Otherwise they make their own, or another
	// server gives them, and this one only answers who asks for options.
	Full bool
	URL  string // of this edge over IPv6, by which edges rank themselves
	At   map[string]Place
	// Pool gives addresses to machines that have no fixed one; nil: another server does.
	Pool *pool.Pool
}

// Place is where machines at an interface reach this edge, and what their link is.
type Place struct {
	Address  netip.Addr
	HTTP     string // "http://[fd00::1]:7380"
	Networks []netip.Prefix
	Own      []netip.Addr // of this edge, on these
}

// Decide says what a client of DHCPv6 is told.
func (d *DHCP6) Decide(ctx context.Context, c dhcp6.Client) dhcp6.Plan {
	f := d.look(c)
	if f.boot != nil && c.Kind != dhcp.Plain && c.MAC != nil { // also where another edge answers: the machine may ask this one later
		d.Machines.Seen.Boots(c.MAC.String(), time.Now().Add(intent.BootTime))
	}
	s := decide6(c, f)
	plan := dhcp6.Plan{Delay: f.turn.wait, Preference: f.preference}
	if f.boot == nil { // there is nothing to boot for such machines
		if s.do == fromPool {
			pooled, mine := d.pooled6(ctx, c, f)
			pooled.Delay, pooled.Preference = plan.Delay, plan.Preference
			if plan = pooled; !mine || plan.Mode == dhcp6.Silent || c.Kind != dhcp.Plain {
				s.why = fmt.Sprint(f.err)
			}
		} else if !f.turn.answer {
			plan = dhcp6.Plan{}
		}
		d.fail(c, nil, s.why)
		return plan
	}
	if s.do == silent {
		return dhcp6.Plan{}
	}
	d.fail(c, f.boot, s.why)
	fill := s.do == fixed && f.pools
	plan.Mode, plan.DNS, plan.OnLink = dhcp6.Stateless, nameServers(f.boot), d.links(c, f.boot)
	if f.full {
		plan.Mode, plan.Rapid = dhcp6.Stateful, true
	}
	if s.do == fromPool {
		pooled, mine := d.pooled6(ctx, c, f)
		switch {
		case mine && pooled.Mode == dhcp6.Silent:
			return dhcp6.Plan{}
		case mine:
			pooled.Delay, pooled.Preference = plan.Delay, plan.Preference
			if len(plan.DNS) > 0 {
				pooled.DNS = plan.DNS
			}
			plan = pooled
		default:
			s = f.own(c)
			d.fail(c, f.boot, s.why)
		}
	}
	if s.do == fixed {
		d.fixed(c, f, &plan)
	}
	if fill { // what the subnet of the address says
		d.Pool.Fill6(c, f.address.Addr(), f.boot.Machine.GetLabels(), &plan)
	}
	if c.Kind != dhcp.Plain && !f.boot.LocalDisk {
		err := f.err
		if err == nil {
			plan.Boot.URL, err = d.bootURL(c, f.boot)
		}
		if err != nil {
			d.fail(c, f.boot, err.Error())
		}
	}
	if plan.Boot.URL != "" && begins(c, plan) {
		d.tell(c, f.boot, kilnv1.BootStage_BOOT_STAGE_DHCP, fmt.Sprintf("%s (%s) is told %s", c.Kind, c.Arch.Name, plan.Boot.URL))
	}
	return plan
}

// look finds out what is known of a client.
func (d *DHCP6) look(c dhcp6.Client) facts6 {
	f := facts6{full: d.Full, pools: d.Full && d.Pool != nil}
	f.boot, f.err = d.machine(c)
	f.turn, f.preference = d.turn(c)
	if f.boot == nil || !f.turn.answer || !f.full {
		return f
	}
	f.address, f.addressErr = fleet.Address6(f.boot.Machine.GetAddress6())
	if f.pools && f.addressErr == nil {
		f.fits = d.Pool.Fits6(c, d.heard(c), f.address.Addr())
		f.holder = otherHolder(d.Pool, f.address.Addr(), f.boot)
	}
	return f
}

// turn is when this edge answers: of several, each machine has one that is first. Whoever is asked by name answers at once.
func (d *DHCP6) turn(c dhcp6.Client) (t turn, preference uint8) {
	if len(c.ServerID) > 0 {
		return turn{answer: true}, 0
	}
	who := c.MAC
	if who == nil {
		who = net.HardwareAddr(c.DUID)
	}
	rank := dhcp.Rank(who, d.Machines.Peers.Order(time.Now(), 6), d.URL)
	t.wait, t.answer = dhcp.Wait(rank, c.Waited())
	if rank == 0 {
		preference = 255
	}
	t.answer = t.answer || c.Message == dhcpv6.MessageTypeConfirm || c.Message == dhcpv6.MessageTypeRebind
	return t, preference
}

// begins tells whether a message is the first of an exchange that is answered.
func begins(c dhcp6.Client, plan dhcp6.Plan) bool {
	return c.Message == dhcpv6.MessageTypeSolicit && plan.Mode == dhcp6.Stateful || c.Message == dhcpv6.MessageTypeInformationRequest
}

// machine is who asks. Which of the two ways to read a DUID's UUID is meant shows when one of them is described.
func (d *DHCP6) machine(c dhcp6.Client) (*fleet.Boot, error) {
	index := d.Machines.Intents.Index()
	id := fleet.Identity{MAC: c.MAC.String()}
	boot, err := index.Resolve(id)
	for _, id.UUID = range c.UUIDs {
		if boot != nil && boot.By != "" {
			break
		}
		if known, e := index.Resolve(id); known != nil && (boot == nil || known.By != "") {
			boot, err = known, e
		}
	}
	return boot, err
}

// links are the networks that a client's addresses may be of.
func (d *DHCP6) links(c dhcp6.Client, boot *fleet.Boot) []netip.Prefix {
	if !c.Relayed {
		return d.At[c.Ingress.Interface].Networks
	}
	if own, err := fleet.Address6(boot.Machine.GetAddress6()); err == nil && own.Contains(c.Link) {
		return []netip.Prefix{own.Masked()}
	}
	if c.Link.IsValid() {
		return []netip.Prefix{netip.PrefixFrom(c.Link, 64).Masked()} // RFC 4291 §2.5.1: what links have but for rare exceptions
	}
	return nil
}

// bootURL is what a client boots next: what Programs say, with the addresses that it can reach.
func (d *DHCP6) bootURL(c dhcp6.Client, boot *fleet.Boot) (string, error) {
	at, ok := d.At[c.Ingress.Interface]
	if !ok {
		return "", fmt.Errorf("the interface %s has no IPv6 address that machines could boot from", c.Ingress.Interface)
	}
	like := dhcp.Client{Kind: c.Kind, MAC: c.MAC, Arch: c.Arch, Archs: c.Archs, UUID: smbios(boot.Identity.UUID)}
	like.IPXE.HTTP, like.IPXE.EFI = c.Kind == dhcp.IPXE, c.Arch.UEFI // it does not tell over IPv6
	if macs := boot.MACs(); like.MAC == nil && len(macs) > 0 {
		like.MAC, _ = net.ParseMAC(macs[0])
	}
	if c.Kind == dhcp.IPXE && c.Arch.Name == "" { // as of 2019: it knows itself what it is
		return d.baseAt(at) + "/boot.ipxe?mac=" + like.MAC.String() + "&uuid=" + boot.Identity.UUID + "&arch=${buildarch}", nil
	}
	file, err := d.Programs.bootFile(like, boot)
	if err != nil || file == "" {
		return "", err
	}
	if path, ok := strings.CutPrefix(file, d.Programs.URL); ok {
		return d.baseAt(at) + path, nil
	}
	return "tftp://[" + at.Address.String() + "]/" + file, nil
}

// baseAt is the edge's URL at a place. Whoever gave it a name knows what that means over IPv6.
func (d *DHCP6) baseAt(at Place) string {
	if peers.Family(d.Programs.URL) == 0 {
		return d.Programs.URL
	}
	return at.HTTP
}

// smbios is a UUID as DHCP option 97 has it, in the order of SMBIOS; nil when it is none.
func smbios(uuid string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(b) != 16 {
		return nil
	}
	return []byte{0, b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}
}

func nameServers(boot *fleet.Boot) []netip.Addr {
	var all []netip.Addr
	for _, text := range boot.Machine.GetDns() {
		if a, err := netip.ParseAddr(text); err == nil && a.Is6() { // DHCPv6 can name no others
			all = append(all, a)
		}
	}
	return all
}

// tell reports what a client is told.
func (d *DHCP6) tell(c dhcp6.Client, boot *fleet.Boot, stage kilnv1.BootStage, detail string) {
	if c.Message != dhcpv6.MessageTypeSolicit && c.Message != dhcpv6.MessageTypeInformationRequest {
		return
	}
	event := &kilnv1.BootEvent{Mac: c.MAC.String(), Stage: stage, Detail: detail}
	if boot != nil {
		event.Machine, event.Uuid = boot.Machine.GetName(), boot.Identity.UUID
	}
	d.Machines.Events.Add(event)
}

// fail reports why a client is told nothing of what it wants; nothing when why is empty.
func (d *DHCP6) fail(c dhcp6.Client, boot *fleet.Boot, why string) {
	if why != "" {
		d.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, why)
	}
}
