package pxe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/pool"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestAddressesOfPoolsOverIPv6(t *testing.T) {
	const pooled = "fd77::100"
	pxe := firmware("PXEClient:Arch:00007:UNDI:003000", 7)
	asks := &dhcpv6.OptIANA{IaId: [4]byte{1}, Options: dhcpv6.IdentityOptions{Options: []dhcpv6.Option{&dhcpv6.OptIAAddress{IPv6Addr: netip.MustParseAddr(pooled).AsSlice()}}}}
	rapid := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}
	for _, c := range []struct {
		name      string
		mac, link string
		message   dhcpv6.MessageType
		options   []dhcpv6.Option
		change    func(in *kilnv1.Intent, p *DHCP6)
		want      string // mode, address, URL
		seen      bool
		event     string
	}{
		{"a machine with a fixed address", known, "", dhcpv6.MessageTypeSolicit, pxe, nil, "stateful " + web6 + " tftp://[fd77::1]/" + snp, false, "is told tftp"},
		{"firmware of a machine without", onDisk, "", dhcpv6.MessageTypeSolicit, pxe, nil, "stateful " + pooled, false, ""},
		{"its REQUEST", onDisk, "", dhcpv6.MessageTypeRequest, []dhcpv6.Option{asks}, nil, "stateful " + pooled, true, ""},
		{"one that wants it at once", onDisk, "", dhcpv6.MessageTypeSolicit, []dhcpv6.Option{rapid}, nil, "stateful " + pooled, true, ""},
		{"the same by a relay", onDisk, "fd77::9", dhcpv6.MessageTypeRequest, []dhcpv6.Option{asks}, nil, "stateful " + pooled, false, ""},
		{"an operating system that nobody described", stranger, "", dhcpv6.MessageTypeSolicit, nil, nil, "stateful " + pooled, false, ""},
		{"firmware that nobody described", stranger, "", dhcpv6.MessageTypeSolicit, pxe, nil, "stateful " + pooled, false, "nobody described this machine"},
		{"one where only machines that are described get one", stranger, "", dhcpv6.MessageTypeSolicit, nil, func(in *kilnv1.Intent, _ *DHCP6) { in.Subnets[0].KnownOnly = true }, "silent", false, "nobody described this machine"},
		{"where machines make their own", stranger, "", dhcpv6.MessageTypeSolicit, nil, func(_ *kilnv1.Intent, p *DHCP6) { p.Full = false }, "silent", false, "nobody described this machine"},
		{"options for one that nobody described", stranger, "", dhcpv6.MessageTypeInformationRequest, nil, nil, "stateful invalid IP", false, ""},
		{"a machine that is in another network than its fixed address", known, "fd88::9", dhcpv6.MessageTypeSolicit, nil, func(in *kilnv1.Intent, _ *DHCP6) {
			in.Subnets = append(in.Subnets, &kilnv1.Subnet{Name: "b", Prefix: "fd88::/64", Dns: []string{"fd77::54"}, Pools: []*kilnv1.AddressRange{{From: "fd88::100", To: "fd88::100"}}})
		}, "stateful fd88::100", false, ""},
		{"a machine whose fixed address another client still has", known, "", dhcpv6.MessageTypeSolicit, nil, func(_ *kilnv1.Intent, p *DHCP6) {
			p.Pool.Take([]*kilnv1.BindingNow{{RemainingMs: 60_000, Binding: &kilnv1.Binding{Subnet: "a", Address: web6, Client: "mac " + stranger, State: kilnv1.BindingState_BINDING_STATE_BOUND}}}, true)
		}, "stateful " + pooled, false, "its fixed address " + web6 + " is still bound to mac " + stranger},
		{"an edge that comes later", stranger, "", dhcpv6.MessageTypeSolicit, nil, func(_ *kilnv1.Intent, p *DHCP6) {
			p.Machines.Peers.Set([]string{"http://[fd77::2]:7380", "http://[fd77::3]:7380", "http://[fd77::4]:7380", "http://[fd77::5]:7380", "http://[fd77::6]:7380"}, time.Now())
		}, "silent", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := newRoom6(t)
			p.Pool = pool.New(pool.Config{Edge: "e1", Farm: &oneFarm{bound: map[string]string{}}, Log: quiet})
			in := proto.CloneOf(r.Intents.Now())
			in.Subnets = []*kilnv1.Subnet{{Name: "a", Prefix: "fd77::/64", Dns: []string{"fd77::54"}, Pools: []*kilnv1.AddressRange{{From: pooled, To: pooled}}}}
			if c.change != nil {
				c.change(in, p)
			}
			in.Revision++
			r.Intents.Set(in)
			p.Pool.Set(in)
			plan := p.Decide(t.Context(), client6(t, c.mac, c.link, c.message, c.options...))
			got := [...]string{"silent", "stateless", "stateful"}[plan.Mode]
			if plan.Mode == dhcp6.Stateful {
				got = strings.TrimSpace(fmt.Sprintf("stateful %s %s", plan.Lease.Address, plan.Boot.URL))
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if plan.Mode == dhcp6.Stateful && (len(plan.DNS) != 1 || len(plan.OnLink) == 0) {
				t.Errorf("got the name servers %s, and the networks %s of the link", plan.DNS, plan.OnLink)
			}
			if _, seen := r.Seen.Bound(plan.Lease.Address); seen != c.seen {
				t.Errorf("the edge saw the address being given: got %v, want %v", seen, c.seen)
			}
			var details []string
			for _, e := range r.Happened() {
				details = append(details, e.GetDetail())
			}
			if all := strings.Join(details, "; "); !strings.Contains(all, c.event) || c.event == "" && all != "" {
				t.Errorf("got the events %q, want %q", all, c.event)
			}
		})
	}
}

// A machine is one client over both families, and in all its programs.
func TestAMachineHasOneAddressOfIPv6(t *testing.T) {
	r, p := newRoom6(t)
	farm := &oneFarm{bound: map[string]string{}}
	p.Pool = pool.New(pool.Config{Edge: "e1", Farm: farm, Log: quiet})
	in := proto.CloneOf(r.Intents.Now())
	in.Subnets = []*kilnv1.Subnet{{Name: "a", Prefix: "fd77::/64", Pools: []*kilnv1.AddressRange{{From: "fd77::1000", To: "fd77::ffff"}}}}
	in.Machines = append(in.Machines, &kilnv1.Machine{Name: "pc", Macs: []string{stranger}, Uuid: "00112233-4455-6677-8899-aabbccddeeff"})
	in.Machines[2].Uuid = ""
	in.Revision++
	r.Intents.Set(in)
	p.Pool.Set(in)
	byUUID := dhcpv6.OptClientID(&dhcpv6.DUIDUUID{UUID: [16]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}})
	for i, options := range [][]dhcpv6.Option{firmware("PXEClient", 7), ipxe6, {byUUID}, {&dhcpv6.OptIANA{IaId: [4]byte{7}}}} {
		c := client6(t, stranger, "", dhcpv6.MessageTypeRequest, options...)
		if i == 2 {
			c.MAC = nil // by its UUID alone
		}
		if plan := p.Decide(t.Context(), c); !plan.Lease.Address.IsValid() || plan.Lease.Valid.Minutes() != map[dhcp.Kind]float64{dhcp.UEFI: 10, dhcp.IPXE: 10, dhcp.Plain: 720}[c.Kind] {
			t.Errorf("program %d (%s): got %+v", i, c.Kind, plan.Lease)
		}
	}
	if len(farm.bound) != 1 {
		t.Errorf("got %v, want one address", farm.bound)
	}
}
