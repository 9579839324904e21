package pxe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/pool"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// oneFarm binds whatever is asked for, once.
type oneFarm struct {
	mu    sync.Mutex
	bound map[string]string
}

func (f *oneFarm) Bind(_ context.Context, commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*kilnv1.BindResult
	for _, c := range commands {
		r := &kilnv1.BindResult{Verdict: kilnv1.BindVerdict_BIND_VERDICT_DONE, Address: c.GetAddress(), RemainingMs: c.GetForMs()}
		if has := f.bound[c.GetAddress()]; has != "" && has != c.GetClient() {
			r = &kilnv1.BindResult{Verdict: kilnv1.BindVerdict_BIND_VERDICT_TAKEN}
		} else {
			f.bound[c.GetAddress()] = c.GetClient()
		}
		out = append(out, r)
	}
	return out, nil
}

func (f *oneFarm) Grant(context.Context, string, string, uint32) ([]netip.Addr, time.Duration, error) {
	return []netip.Addr{netip.MustParseAddr("10.0.0.100")}, time.Minute, nil
}

func TestAddressesOfPools(t *testing.T) {
	loaders := map[string]string{undi: "/x"}
	bios := []dhcpv4.Option{dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")}
	with := func(options ...dhcpv4.Option) []dhcpv4.Option { return options }
	asks := dhcpv4.OptRequestedIPAddress([]byte{10, 0, 0, 100})
	for _, c := range []struct {
		name    string
		mac     string
		message dhcpv4.MessageType
		options []dhcpv4.Option
		change  func(in *kilnv1.Intent, c *dhcp.Client, p *DHCP)
		want    string // mode, address, file, and what is refused
		seen    bool
		event   string
	}{
		{"a machine with a fixed address", known, dhcpv4.MessageTypeDiscover, bios, nil, "full 10.0.0.21/24 undionly.kpxe", false, "is told undionly.kpxe"},
		{"a machine without", onDisk, dhcpv4.MessageTypeDiscover, bios, nil, "full 10.0.0.100/24", false, ""},
		{"its REQUEST", onDisk, dhcpv4.MessageTypeRequest, with(asks), nil, "full 10.0.0.100/24", true, ""},
		{"the same by a relay", onDisk, dhcpv4.MessageTypeRequest, with(asks), func(_ *kilnv1.Intent, c *dhcp.Client, _ *DHCP) { c.Gateway = netip.MustParseAddr("10.0.0.1") }, "full 10.0.0.100/24", false, ""},
		{"an operating system that nobody described", stranger, dhcpv4.MessageTypeDiscover, nil, nil, "full 10.0.0.100/24", false, ""},
		{"firmware that nobody described", stranger, dhcpv4.MessageTypeDiscover, bios, nil, "full 10.0.0.100/24", false, "nobody described this machine"},
		{"one where only machines that are described get one", stranger, dhcpv4.MessageTypeDiscover, bios, func(in *kilnv1.Intent, _ *dhcp.Client, _ *DHCP) { in.Subnets[0].KnownOnly = true }, "silent", false, "nobody described this machine"},
		{"a REQUEST of another network's address", stranger, dhcpv4.MessageTypeRequest, with(dhcpv4.OptRequestedIPAddress([]byte{10, 9, 9, 9})), nil, "refused: 10.9.9.9 is not of this network", false, ""},
		{"firmware on port 4011 asks for a file", onDisk, dhcpv4.MessageTypeRequest, with(asks), func(_ *kilnv1.Intent, c *dhcp.Client, _ *DHCP) { c.Ingress.Port = dhcp.BootPort }, "silent", false, ""},
		{"a proxy gives none", onDisk, dhcpv4.MessageTypeDiscover, nil, func(_ *kilnv1.Intent, _ *dhcp.Client, p *DHCP) { p.Full = false }, "silent", false, ""},
		{"a machine that is in another network than its fixed address", known, dhcpv4.MessageTypeDiscover, bios, func(in *kilnv1.Intent, _ *dhcp.Client, _ *DHCP) {
			in.Machines[0].Address = "10.5.0.1/24"
			in.Subnets = append(in.Subnets, &kilnv1.Subnet{Name: "b", Prefix: "10.5.0.0/24"})
		}, "full 10.0.0.100/24 undionly.kpxe", false, "is told undionly.kpxe"},
		{"a machine whose fixed address another client still has", known, dhcpv4.MessageTypeDiscover, bios, func(_ *kilnv1.Intent, _ *dhcp.Client, p *DHCP) {
			p.Pool.Take([]*kilnv1.BindingNow{{RemainingMs: 60_000, Binding: &kilnv1.Binding{Subnet: "a", Address: "10.0.0.21", Client: "mac " + stranger, State: kilnv1.BindingState_BINDING_STATE_BOUND}}}, true)
		}, "full 10.0.0.100/24 undionly.kpxe", false, "its fixed address 10.0.0.21 is still bound to mac " + stranger},
		{"the second edge", stranger, dhcpv4.MessageTypeDiscover, bios, func(_ *kilnv1.Intent, c *dhcp.Client, p *DHCP) { second(c, p) }, "after 150ms", false, ""},
		{"the second edge, when its turn has come", stranger, dhcpv4.MessageTypeDiscover, bios, func(_ *kilnv1.Intent, c *dhcp.Client, p *DHCP) { second(c, p); c.Late = true }, "full 10.0.0.100/24", false, "nobody described this machine"},
		{"the second edge, with a fixed address", known, dhcpv4.MessageTypeDiscover, bios, func(_ *kilnv1.Intent, c *dhcp.Client, p *DHCP) { second(c, p) }, "after 150ms", false, ""},
		{"the second edge, which was chosen", onDisk, dhcpv4.MessageTypeRequest, with(asks), func(_ *kilnv1.Intent, c *dhcp.Client, p *DHCP) {
			second(c, p)
			c.ServerID = netip.MustParseAddr("10.0.0.1")
		}, "full 10.0.0.100/24", true, ""},
		{"the third of three edges", onDisk, dhcpv4.MessageTypeDiscover, nil, func(_ *kilnv1.Intent, c *dhcp.Client, p *DHCP) { p.Machines.URL = lastOf(c, p) }, "silent", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoomOf(t)
			p := r.dhcp(true, loaders)
			p.Pool = pool.New(pool.Config{Edge: "e1", Farm: &oneFarm{bound: map[string]string{}}, Log: quiet})
			in := proto.CloneOf(r.Intents.Now())
			in.Subnets = []*kilnv1.Subnet{{Name: "a", Prefix: "10.0.0.0/24", Gateway: "10.0.0.253", Dns: []string{"10.0.0.53"}, Pools: []*kilnv1.AddressRange{{From: "10.0.0.100", To: "10.0.0.100"}}}}
			packet := client(t, c.mac, c.message, c.options...)
			packet.Own = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
			if c.change != nil {
				c.change(in, &packet, p)
			}
			in.Revision++
			r.Intents.Set(in)
			p.Pool.Set(in)
			plan := p.Decide(t.Context(), packet)
			got := [...]string{"silent", "proxy", "full"}[plan.Mode]
			if plan.Mode == dhcp.Full {
				got = strings.TrimSpace(fmt.Sprintf("full %s %s", plan.Lease.Address, plan.Boot.File))
			}
			if plan.Refuse != "" {
				got = "refused: " + plan.Refuse
			}
			if plan.Delay > 0 {
				got = "after " + plan.Delay.String()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if plan.Mode == dhcp.Full && plan.Refuse == "" && (len(plan.Lease.DNS) != 1 || plan.Lease.Router.As4()[3] < 253) {
				t.Errorf("got the router %s and the name servers %s", plan.Lease.Router, plan.Lease.DNS)
			}
			if _, seen := r.Seen.Bound(plan.Lease.Address.Addr()); seen != c.seen {
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

// lastOf is the URL of three edges that answers a client last.
func lastOf(c *dhcp.Client, p *DHCP) string {
	urls := []string{"http://a", "http://b", "http://c"}
	p.Machines.Peers.Set(urls, time.Now())
	for _, u := range urls {
		if dhcp.Rank(c.MAC, urls, u) == 2 {
			return u
		}
	}
	return ""
}

// second makes p the edge of two that answers a client second.
func second(c *dhcp.Client, p *DHCP) {
	urls := []string{"http://a", "http://b"}
	p.Machines.Peers.Set(urls, time.Now())
	for _, u := range urls {
		if dhcp.Rank(c.MAC, urls, u) == 1 {
			p.Machines.URL = u
		}
	}
}
