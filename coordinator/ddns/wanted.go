package ddns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/internal/dnsname"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// NoReverse in a DNSUpdate: no pointers are published.
const NoReverse = "none"

// Place is an address in a subnet.
type Place struct{ Subnet, Address string }

// Name is what an address is called.
type Name struct {
	FQDN    string
	Why     string // it is not published: one sentence
	Records []Key  // that publish it
	// Holder and Label are the client and the label of the binding that it is of; empty for a fixed address.
	Holder, Label string
}

// Wants is what DNS should hold.
type Wants struct {
	Records map[Key]*kilnv1.DNSRecord
	Names   map[Place]Name
	// Until is the steady time in ms at which the first binding with a name runs out; 0: none does.
	Until int64
	// Keys sign updates of zones, as subnets say now.
	Keys map[Zone]string
}

// Zone is a zone at a server.
type Zone struct{ Server, Name string }

// Wanted is what DNS should hold at a steady time, in ms: the names of machines at their fixed and bound addresses, and what
// other clients are called. When two would have one name, machines go before clients, and each in the order of their names or
// addresses. The order of bindings does not matter.
func Wanted(in *kilnv1.Intent, bindings []*kilnv1.Binding, steady int64) Wants {
	w := &wanter{Wants: Wants{Records: map[Key]*kilnv1.DNSRecord{}, Names: map[Place]Name{}, Keys: map[Zone]string{}}, owners: map[Owner]owner{}, labels: map[string]string{}}
	w.read(in.GetSubnets())
	if len(w.networks) == 0 {
		return w.Wants
	}
	machines := slices.Clone(in.GetMachines())
	slices.SortFunc(machines, func(a, b *kilnv1.Machine) int { return strings.Compare(a.GetName(), b.GetName()) })
	of := map[string]*kilnv1.Machine{} // by MAC
	for _, m := range machines {
		for _, mac := range m.GetMacs() {
			of[mac] = m
		}
		for _, name := range []string{m.GetName(), hostOf(m)} {
			first, _, _ := strings.Cut(strings.ToLower(name), ".")
			w.labels[first] = m.GetName()
		}
	}
	var bound []lease
	for _, b := range bindings {
		n := w.bySubnet[b.GetSubnet()]
		if n == nil || b.GetState() != kilnv1.BindingState_BINDING_STATE_BOUND || b.GetUntilMs() <= steady {
			continue
		}
		address, err := netip.ParseAddr(b.GetAddress())
		m := of[b.GetMac()]
		if err != nil || m == nil && (b.GetName() == "" || !n.in.GetClients()) {
			continue
		}
		bound = append(bound, lease{n, address, m, b})
		if w.Until == 0 || b.GetUntilMs() < w.Until {
			w.Until = b.GetUntilMs()
		}
	}
	defer func() {
		for _, l := range bound {
			at := Place{l.network.name, l.address.String()}
			if name, ok := w.Names[at]; ok {
				name.Holder, name.Label = l.binding.GetClient(), l.binding.GetName()
				w.Names[at] = name
			}
		}
	}()
	slices.SortFunc(bound, func(a, b lease) int {
		return cmp.Or(strings.Compare(a.machine.GetName(), b.machine.GetName()), strings.Compare(a.network.name, b.network.name), a.address.Compare(b.address))
	})
	for _, m := range machines {
		for _, text := range []string{m.GetAddress(), m.GetAddress6()} {
			if p, err := netip.ParsePrefix(text); err == nil {
				w.machine(m, w.of(p.Addr()), p.Addr())
			}
		}
		at, _ := slices.BinarySearchFunc(bound, m.GetName(), func(l lease, name string) int { return strings.Compare(l.machine.GetName(), name) })
		for ; at < len(bound) && bound[at].machine == m; at++ {
			w.machine(m, bound[at].network, bound[at].address)
		}
	}
	for _, l := range bound {
		if l.machine == nil {
			w.client(l)
		}
	}
	return w.Wants
}

// lease is an address that somebody has.
type lease struct {
	network *network
	address netip.Addr
	machine *kilnv1.Machine // nil: nobody described it
	binding *kilnv1.Binding
}

// network is a subnet whose names are published.
type network struct {
	name    string
	prefix  netip.Prefix
	in      *kilnv1.DNSUpdate
	reverse string // zone; empty: no pointers
}

type wanter struct {
	Wants
	networks []*network
	bySubnet map[string]*network
	owners   map[Owner]owner
	labels   map[string]string // of machines
}

// owner is whose a name in DNS is.
type owner struct{ client, what string }

func (w *wanter) read(subnets []*kilnv1.Subnet) {
	w.bySubnet = map[string]*network{}
	for _, s := range subnets {
		prefix, err := netip.ParsePrefix(s.GetPrefix())
		if s.GetDnsUpdate() == nil || err != nil {
			continue
		}
		n := &network{name: s.GetName(), prefix: prefix.Masked(), in: s.GetDnsUpdate(), reverse: s.GetDnsUpdate().GetReverse()}
		switch n.reverse {
		case "":
			n.reverse = dnsname.ReverseZone(prefix)
		case NoReverse:
			n.reverse = ""
		}
		w.networks, w.bySubnet[n.name] = append(w.networks, n), n
		for _, zone := range []string{n.in.GetZone(), n.reverse} {
			w.Keys[Zone{n.in.GetServer(), zone}] = n.in.GetKey()
		}
	}
	slices.SortFunc(w.networks, func(a, b *network) int { return a.prefix.Addr().Compare(b.prefix.Addr()) })
}

// of is the network that an address is in, or nil. Networks do not overlap, and are in their order.
func (w *wanter) of(address netip.Addr) *network {
	at, found := slices.BinarySearchFunc(w.networks, address, func(n *network, a netip.Addr) int { return n.prefix.Addr().Compare(a) })
	if !found {
		at--
	}
	if at < 0 || !w.networks[at].prefix.Contains(address) {
		return nil
	}
	return w.networks[at]
}

func (w *wanter) machine(m *kilnv1.Machine, n *network, address netip.Addr) {
	if n != nil {
		w.add(n, address, dnsname.Host(hostOf(m), n.in.GetZone()), clientOf(m), "machine "+m.GetName())
	}
}

func (w *wanter) client(l lease) {
	fqdn := dnsname.Host(l.binding.GetName(), l.network.in.GetZone())
	if m := w.labels[l.binding.GetName()]; m != "" {
		w.Names[Place{l.network.name, l.address.String()}] = Name{FQDN: fqdn, Why: fmt.Sprintf("machine %s has this name", m)}
		return
	}
	w.add(l.network, l.address, fqdn, l.binding.GetClient(), l.binding.GetClient()+" at "+l.address.String())
}

// add wants a name for an address, unless somebody else has it.
func (w *wanter) add(n *network, address netip.Addr, fqdn, client, what string) {
	if fqdn == "" || client == "" {
		return
	}
	at := Place{n.name, address.String()}
	name := Name{FQDN: fqdn}
	forward := Owner{n.in.GetServer(), fqdn}
	if have, ok := w.owners[forward]; ok && have.client != client {
		name.Why = have.what + " has this name"
		w.Names[at] = name
		return
	}
	w.owners[forward] = owner{client, what}
	ttl := n.in.GetTtlSeconds()
	if ttl == 0 {
		ttl = DefaultTTL
	}
	want := func(zone string, reverse bool) {
		r := &kilnv1.DNSRecord{Server: n.in.GetServer(), Zone: zone, Name: fqdn, Address: address.String(), Client: client, Reverse: reverse, TtlSeconds: ttl, Key: n.in.GetKey()}
		w.Records[KeyOf(r)] = r
		name.Records = append(name.Records, KeyOf(r))
	}
	want(n.in.GetZone(), false)
	// An address has one pointer, even where two machines have the address: one's would go with the other's.
	back, whose := Owner{n.in.GetServer(), dnsname.Reverse(address)}, owner{client, fqdn}
	if have, ok := w.owners[back]; n.reverse != "" && (!ok || have == whose) {
		w.owners[back] = whose
		want(n.reverse, true)
	}
	w.Names[at] = name
}

func hostOf(m *kilnv1.Machine) string {
	if m.GetHostname() != "" {
		return m.GetHostname()
	}
	return m.GetName()
}

// clientOf is by what a machine's names are marked in DNS: its first MAC, at whichever of its network cards an address is.
func clientOf(m *kilnv1.Machine) string {
	switch {
	case len(m.GetMacs()) > 0:
		return "mac " + m.GetMacs()[0]
	case m.GetUuid() != "":
		return "uuid " + m.GetUuid()
	}
	return ""
}
