package state

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// addresses is what is bound to whom: a part of the state of its own. Its values are never changed, only replaced.
type addresses struct {
	steady    int64 // the farm's steady time, in ms
	byAddress map[place]*kilnv1.Binding
	byClient  map[tenant]netip.Addr // the binding that a client has or had last
	count6    map[string]int        // of byAddress, by subnet: of IPv6; made of it
	blocks    map[string]*kilnv1.Block
	rovers    map[string]netip.Addr // by pool: where the search for free addresses goes on
	reserved  map[netip.Addr]string // fixed addresses of machines, as "mac mac …"; made of the room
	described map[string]bool       // hardware addresses of machines; made of the room
	hosts     hosts                 // names of machines; made of the room
	named     map[string][]place    // by label: where clients have it or had it last. Slices are never changed, only replaced
}

// place is an address in a subnet. Networks that do not meet may have the same addresses.
type place struct {
	subnet  string
	address netip.Addr
}

// tenant is a client in a subnet: it has one address there.
type tenant struct{ subnet, client string }

const (
	maxBindings = 1 << 20
	maxSubnets  = 4096
	maxBlocks   = 1 << 14
)

func newAddresses() addresses {
	return addresses{byAddress: map[place]*kilnv1.Binding{}, byClient: map[tenant]netip.Addr{}, count6: map[string]int{}, blocks: map[string]*kilnv1.Block{},
		rovers: map[string]netip.Addr{}, reserved: map[netip.Addr]string{}, named: map[string][]place{}}
}

func (a addresses) clone() addresses {
	a.byAddress, a.byClient, a.blocks, a.rovers = maps.Clone(a.byAddress), maps.Clone(a.byClient), maps.Clone(a.blocks), maps.Clone(a.rovers)
	a.count6, a.named = maps.Clone(a.count6), maps.Clone(a.named)
	return a
}

// Steady is the farm's steady time in ms: it counts only while somebody leads, goes as fast as time does, and never jumps. What
// a client was promised by it has not run out before the client believes that it has.
func (m *Machine) Steady() int64 { return m.addresses.steady }

// Bindings are all that are known, in the order of subnets and addresses. The caller may keep but not change them.
func (m *Machine) Bindings() []*kilnv1.Binding {
	all := slices.Collect(maps.Values(m.addresses.byAddress))
	parsed := make(map[*kilnv1.Binding]netip.Addr, len(all))
	for place, b := range m.addresses.byAddress {
		parsed[b] = place.address
	}
	slices.SortFunc(all, func(a, b *kilnv1.Binding) int {
		if c := strings.Compare(a.GetSubnet(), b.GetSubnet()); c != 0 {
			return c
		}
		return parsed[a].Compare(parsed[b])
	})
	return all
}

// Binding is that of an address in a subnet; nil when there never was one.
func (m *Machine) Binding(subnet string, address netip.Addr) *kilnv1.Binding {
	return m.addresses.byAddress[place{subnet, address}]
}

// Subnet is the one of that name, or nil.
func (m *Machine) Subnet(name string) *kilnv1.Subnet { return m.room.subnets[name] }

// Holds says whether a binding keeps others from its address at a steady time. One that was given back does when its client's
// machine is described: until then an edge that has not heard of it may acknowledge the address.
func Holds(b *kilnv1.Binding, steady int64) bool { return b != nil && b.GetUntilMs() > steady }

// Over6 are bindings of IPv6 that are over, at most so many, the oldest first: those that ended before a steady time, and as many as
// a subnet has beyond half of what it may have. Of IPv4 they are kept, as its pools bound them.
func (m *Machine) Over6(before int64, most int) []*kilnv1.Binding {
	var over []*kilnv1.Binding
	if len(m.addresses.count6) == 0 {
		return nil
	}
	for at, b := range m.addresses.byAddress {
		if at.address.Is6() && !Holds(b, m.addresses.steady) && (b.GetUntilMs() < before || m.addresses.count6[at.subnet] > MaxBindings6/2) {
			over = append(over, b)
		}
	}
	slices.SortFunc(over, func(a, b *kilnv1.Binding) int {
		return cmp.Or(cmp.Compare(a.GetUntilMs(), b.GetUntilMs()), strings.Compare(a.GetSubnet(), b.GetSubnet()), strings.Compare(a.GetAddress(), b.GetAddress()))
	})
	beyond := map[string]int{}
	for subnet, n := range m.addresses.count6 {
		beyond[subnet] = n - MaxBindings6/2
	}
	over = slices.DeleteFunc(over, func(b *kilnv1.Binding) bool {
		beyond[b.GetSubnet()]--
		return b.GetUntilMs() >= before && beyond[b.GetSubnet()] < 0
	})
	return over[:min(len(over), most)]
}

// reserve reads the hardware and fixed addresses of the room's machines.
func (m *Machine) reserve() {
	reserved, described := map[netip.Addr]string{}, map[string]bool{}
	for _, machine := range byName(m.room.machines) { // of two that have one address each may have it, on every replica
		for _, address := range fixedOf(machine) {
			reserved[address] += strings.Join(machine.GetMacs(), " ") + " "
		}
		for _, mac := range machine.GetMacs() {
			described[mac] = true
		}
	}
	m.addresses.reserved, m.addresses.described = reserved, described
	m.addresses.hosts = hostsOf(m.room.machines)
}

// fixedOf are the fixed addresses of a machine.
func fixedOf(machine *kilnv1.Machine) (all []netip.Addr) {
	for _, text := range []string{machine.GetAddress(), machine.GetAddress6()} {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p.Addr())
		}
	}
	return all
}

// reservedFor says whether an address is fixed for another machine than that of a MAC.
func (a *addresses) reservedFor(address netip.Addr, mac string) bool {
	macs, ok := a.reserved[address]
	return ok && (mac == "" || !strings.Contains(macs, mac+" "))
}

// dropSubnets forgets what belongs to subnets that are no more.
func (m *Machine) dropSubnets(names []string) {
	for _, name := range names {
		if m.room.subnets[name] != nil {
			continue
		}
		maps.DeleteFunc(m.addresses.byAddress, func(p place, b *kilnv1.Binding) bool {
			if p.subnet == name {
				m.addresses.rename(p, b.GetName(), "")
			}
			return p.subnet == name
		})
		delete(m.addresses.count6, name)
		maps.DeleteFunc(m.addresses.byClient, func(t tenant, _ netip.Addr) bool { return t.subnet == name })
		maps.DeleteFunc(m.addresses.blocks, func(_ string, b *kilnv1.Block) bool { return b.GetSubnet() == name })
		maps.DeleteFunc(m.addresses.rovers, func(pool string, _ netip.Addr) bool { return strings.HasPrefix(pool, name+" ") })
	}
}

// inRanges says whether an address is in one of the ranges. Ranges that are none hold nothing.
func inRanges(ranges []*kilnv1.AddressRange, address netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r *kilnv1.AddressRange) bool {
		from, to, ok := rangeOf(r)
		return ok && from.Compare(address) <= 0 && address.Compare(to) <= 0
	})
}

func rangeOf(r *kilnv1.AddressRange) (from, to netip.Addr, ok bool) {
	from, err := netip.ParseAddr(r.GetFrom())
	if err != nil {
		return from, to, false
	}
	to, err = netip.ParseAddr(r.GetTo())
	return from, to, err == nil && from.Zone() == "" && to.Zone() == "" && from.BitLen() == to.BitLen() && from.Compare(to) <= 0
}

// poolsOf are a subnet's pools, or those of one of its classes.
func poolsOf(s *kilnv1.Subnet, class string) []*kilnv1.AddressRange {
	for _, c := range s.GetClasses() {
		if class != "" && c.GetName() == class && len(c.GetPools()) > 0 {
			return c.GetPools()
		}
	}
	return s.GetPools()
}

// given says whether an address is in a pool of the subnet or of one of its classes, and not excluded.
func given(s *kilnv1.Subnet, address netip.Addr) bool {
	if inRanges(s.GetExclude(), address) {
		return false
	}
	return inRanges(s.GetPools(), address) || slices.ContainsFunc(s.GetClasses(), func(c *kilnv1.ClientClass) bool { return inRanges(c.GetPools(), address) })
}

// records are the addresses in a snapshot.
func (m *Machine) addressRecords() []*kilnv1.SnapshotRecord {
	var out []*kilnv1.SnapshotRecord
	for _, b := range m.Bindings() {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Binding{Binding: b}})
	}
	for _, key := range slices.Sorted(maps.Keys(m.addresses.blocks)) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Block{Block: m.addresses.blocks[key]}})
	}
	for _, pool := range slices.Sorted(maps.Keys(m.addresses.rovers)) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Rover{Rover: &kilnv1.SnapshotRover{Pool: pool, Address: m.addresses.rovers[pool].String()}}})
	}
	return out
}

// restore takes a record that addressRecords made; false for others. What cannot be read is left out: nothing here makes it.
func (a *addresses) restore(record *kilnv1.SnapshotRecord) bool {
	switch v := record.GetRecord().(type) {
	case *kilnv1.SnapshotRecord_Binding:
		if address, err := netip.ParseAddr(v.Binding.GetAddress()); err == nil {
			a.put(address, v.Binding)
		}
	case *kilnv1.SnapshotRecord_Block:
		a.blocks[blockKey(v.Block.GetEdge(), v.Block.GetSubnet(), v.Block.GetClass())] = v.Block
	case *kilnv1.SnapshotRecord_Rover:
		if address, err := netip.ParseAddr(v.Rover.GetAddress()); err == nil {
			a.rovers[v.Rover.GetPool()] = address
		}
	default:
		return false
	}
	return true
}

// put stores a binding in place of the one that its address had.
func (a *addresses) put(address netip.Addr, b *kilnv1.Binding) {
	at := place{b.GetSubnet(), address}
	if old := a.byAddress[at]; old != nil && old.GetClient() != b.GetClient() {
		a.leave(tenant{old.GetSubnet(), old.GetClient()}, address)
	}
	if a.byAddress[at] == nil && address.Is6() {
		a.count6[b.GetSubnet()]++
	}
	a.rename(at, a.byAddress[at].GetName(), b.GetName())
	a.byAddress[at] = b
	if b.GetClient() != "" {
		a.byClient[tenant{b.GetSubnet(), b.GetClient()}] = address
	}
}

// drop forgets a binding.
func (a *addresses) drop(at place) {
	b := a.byAddress[at]
	if b == nil {
		return
	}
	delete(a.byAddress, at)
	a.rename(at, b.GetName(), "")
	a.leave(tenant{at.subnet, b.GetClient()}, at.address)
	if at.address.Is6() {
		if a.count6[at.subnet]--; a.count6[at.subnet] == 0 {
			delete(a.count6, at.subnet)
		}
	}
}

// leave forgets that a client had an address, unless it has another one by now.
func (a *addresses) leave(t tenant, address netip.Addr) {
	if a.byClient[t] == address {
		delete(a.byClient, t)
	}
}
