package state

import (
	"maps"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/internal/dnsname"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// hosts are the names of the machines that are described.
type hosts struct {
	byMAC  map[string]string // host names
	labels map[string]bool   // which no client gets
}

func hostsOf(machines map[string]*kilnv1.Machine) hosts {
	h := hosts{byMAC: map[string]string{}, labels: map[string]bool{}}
	for _, machine := range byName(machines) {
		host := HostOf(machine)
		for _, mac := range machine.GetMacs() {
			h.byMAC[mac] = host
		}
		for _, name := range []string{machine.GetName(), host} {
			first, _, _ := strings.Cut(strings.ToLower(name), ".")
			h.labels[first] = true
		}
	}
	return h
}

// HostOf is what a machine is called.
func HostOf(machine *kilnv1.Machine) string {
	if machine.GetHostname() != "" {
		return machine.GetHostname()
	}
	return machine.GetName()
}

// nameFor is the label that a client gets with a binding: the one that it asks for, or else had with it. None where its subnet
// publishes none, and none that a machine or another client of the zone has: it is not worth refusing an address for.
func (m *Machine) nameFor(c *kilnv1.BindCommand, subnet *kilnv1.Subnet, at place, have *kilnv1.Binding, own bool) string {
	if !subnet.GetDnsUpdate().GetClients() || c.GetNameless() {
		return ""
	}
	label := c.GetName()
	if label == "" && own {
		label = have.GetName() // firmware and boot programs do not say what the operating system does
	}
	if !dnsname.IsLabel(label) {
		return ""
	}
	if _, described := m.addresses.hosts.byMAC[c.GetMac()]; described || m.addresses.hosts.labels[label] || m.nameHeld(label, subnet.GetDnsUpdate(), c.GetClient()) {
		return ""
	}
	return label
}

// nameHeld says whether another client has a label in a zone.
func (m *Machine) nameHeld(label string, in *kilnv1.DNSUpdate, client string) bool {
	a := &m.addresses
	return slices.ContainsFunc(a.named[label], func(at place) bool {
		b, other := a.byAddress[at], m.room.subnets[at.subnet].GetDnsUpdate()
		return b.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND && Holds(b, a.steady) && b.GetClient() != client &&
			other.GetServer() == in.GetServer() && other.GetZone() == in.GetZone()
	})
}

// rename notes that the binding of an address has another label; either may be empty.
func (a *addresses) rename(at place, from, to string) {
	if from == to {
		return
	}
	if from != "" {
		a.setNamed(from, slices.DeleteFunc(slices.Clone(a.named[from]), func(p place) bool { return p == at }))
	}
	if to != "" && !slices.Contains(a.named[to], at) {
		a.setNamed(to, append(slices.Clone(a.named[to]), at))
	}
}

func (a *addresses) setNamed(label string, at []place) {
	if len(at) == 0 {
		delete(a.named, label)
		return
	}
	a.named[label] = at
}

// nameOf is the name under which a binding is to be in DNS; empty: it is not.
func (m *Machine) nameOf(subnet *kilnv1.Subnet, b *kilnv1.Binding) string {
	in := subnet.GetDnsUpdate()
	if in == nil {
		return ""
	}
	if host, described := m.addresses.hosts.byMAC[b.GetMac()]; described {
		return dnsname.Host(host, in.GetZone())
	}
	if b.GetName() == "" {
		return ""
	}
	return dnsname.Host(b.GetName(), in.GetZone())
}

// Named says whether a binding is to be in DNS while it holds.
func (m *Machine) Named(b *kilnv1.Binding) bool {
	return b.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND && m.nameOf(m.room.subnets[b.GetSubnet()], b) != ""
}

// maxPublished is how many records there are at most: two of each name.
const maxPublished = 1 << 19

// recordKey is equal for records that are one in DNS. How long they are cached and who signs does not make them others.
func recordKey(r *kilnv1.DNSRecord) string {
	kind := "forward"
	if r.GetReverse() {
		kind = "reverse"
	}
	return strings.Join([]string{r.GetServer(), r.GetZone(), r.GetName(), r.GetAddress(), r.GetClient(), kind}, "\x00")
}

// publish takes what the leader is about to do in DNS, or has done. What is there can be known from DNS alone; this says where
// to look.
func (m *Machine) publish(c *kilnv1.PublishCommand) Result {
	more := 0
	for _, r := range c.GetPut() {
		for _, text := range []string{r.GetServer(), r.GetZone(), r.GetName(), r.GetAddress(), r.GetClient(), r.GetKey()} {
			if len(text) > maxHostname {
				return Result{Refused: RefusedInvalid}
			}
		}
		if m.published[recordKey(r)] == nil {
			more++
		}
	}
	if more > 0 && len(m.published)+more > maxPublished {
		return Result{Refused: RefusedInvalid}
	}
	for _, r := range c.GetRemove() {
		delete(m.published, recordKey(r))
	}
	for _, r := range c.GetPut() {
		m.published[recordKey(r)] = r
	}
	m.note(Change{Kind: PublishedChanged})
	return Result{}
}

// Published are the records that are in DNS or may be, in no order. The caller may keep but not change them.
func (m *Machine) Published() []*kilnv1.DNSRecord { return slices.Collect(maps.Values(m.published)) }

// Publishes says whether there is anything to be done about DNS.
func (m *Machine) Publishes() bool {
	if len(m.published) > 0 {
		return true
	}
	for _, s := range m.room.subnets {
		if s.GetDnsUpdate() != nil {
			return true
		}
	}
	return false
}

// AllBindings are all that are known, in no order. The caller may keep but not change them.
func (m *Machine) AllBindings() []*kilnv1.Binding {
	return slices.Collect(maps.Values(m.addresses.byAddress))
}

// publishedRecords are what is in DNS in a snapshot.
func (m *Machine) publishedRecords() []*kilnv1.SnapshotRecord {
	var out []*kilnv1.SnapshotRecord
	for _, key := range slices.Sorted(maps.Keys(m.published)) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Published{Published: m.published[key]}})
	}
	return out
}

// renewPublished puts what the farm of now knows to be in DNS beside what a backup knew, of which nothing is sure any more.
func (m *Machine) renewPublished(now *Machine) {
	for key, r := range m.published {
		if r.GetSure() {
			m.published[key] = &kilnv1.DNSRecord{Server: r.GetServer(), Zone: r.GetZone(), Name: r.GetName(), Address: r.GetAddress(), Client: r.GetClient(),
				Reverse: r.GetReverse(), TtlSeconds: r.GetTtlSeconds(), Key: r.GetKey()}
		}
	}
	maps.Copy(m.published, now.published)
}
