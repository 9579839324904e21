package state

import (
	"net/netip"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxBlock = 1024 // addresses that an edge may have of a pool
	maxScan  = 1 << 17
)

func blockKey(edge, subnet, class string) string { return edge + "\x00" + subnet + "\x00" + class }

// grant lends addresses to an edge for its offers: those that it has and that are still free, and more of those that nobody was
// lent. Addresses that were never bound, or not for the longest time, come first.
func (m *Machine) grant(c *kilnv1.BlockCommand) Result {
	a := &m.addresses
	subnet := m.room.subnets[c.GetSubnet()]
	if c.GetEdge() == "" || len(c.GetEdge()) > maxID || c.GetSize() > maxBlock || c.GetForMs() < 0 || c.GetForMs() > maxForMs || len(c.GetClass()) > maxID {
		return Result{Refused: RefusedInvalid}
	}
	if subnet == nil {
		return Result{Refused: RefusedOutside}
	}
	key := blockKey(c.GetEdge(), c.GetSubnet(), c.GetClass())
	if a.blocks[key] == nil && len(a.blocks) >= maxBlocks {
		return Result{Refused: RefusedInvalid}
	}
	lent := m.lent(c.GetSubnet(), key)
	free := func(address netip.Addr) bool {
		return !lent[address] && !inRanges(subnet.GetExclude(), address) && !a.reservedFor(address, "") && !Holds(a.byAddress[place{c.GetSubnet(), address}], a.steady)
	}
	pools := poolsOf(subnet, c.GetClass())
	block := &kilnv1.Block{Edge: c.GetEdge(), Subnet: c.GetSubnet(), Class: c.GetClass(), UntilMs: a.steady + c.GetForMs()}
	have := map[netip.Addr]bool{}
	if old := a.blocks[key]; old.GetUntilMs() > a.steady {
		for _, text := range old.GetAddresses() {
			if address, err := netip.ParseAddr(text); err == nil && inRanges(pools, address) && free(address) {
				block.Addresses, have[address] = append(block.Addresses, text), true
			}
		}
	}
	want := min(len(block.GetAddresses())+int(c.GetSize()), maxBlock)
	fresh := func(address netip.Addr) bool { return a.byAddress[place{c.GetSubnet(), address}] == nil }
	used := func(address netip.Addr) bool { return !fresh(address) }
	for _, pass := range []func(netip.Addr) bool{fresh, used} {
		m.roam(c.GetSubnet()+" "+c.GetClass(), pools, func(address netip.Addr) bool {
			if len(block.GetAddresses()) >= want {
				return false
			}
			if pass(address) && !have[address] && free(address) {
				block.Addresses, have[address] = append(block.Addresses, address.String()), true
			}
			return true
		})
	}
	a.blocks[key] = block
	return Result{Block: block}
}

// lent are the addresses of a subnet that other edges have in blocks.
func (m *Machine) lent(subnet, but string) map[netip.Addr]bool {
	lent := map[netip.Addr]bool{}
	for key, b := range m.addresses.blocks {
		if b.GetUntilMs() <= m.addresses.steady {
			delete(m.addresses.blocks, key)
			continue
		}
		if key == but || b.GetSubnet() != subnet {
			continue
		}
		for _, text := range b.GetAddresses() {
			if address, err := netip.ParseAddr(text); err == nil {
				lent[address] = true
			}
		}
	}
	return lent
}

// roam goes once over the addresses of pools, from where it ended the last time, until visit says false.
func (m *Machine) roam(name string, pools []*kilnv1.AddressRange, visit func(netip.Addr) bool) {
	begin := m.addresses.rovers[name]
	var before, after [][2]netip.Addr
	for _, p := range pools {
		from, to, ok := rangeOf(p)
		if !ok {
			continue
		}
		switch {
		case begin.IsValid() && from.Compare(begin) <= 0 && begin.Compare(to) <= 0:
			after = append([][2]netip.Addr{{begin, to}}, after...)
			if from != begin {
				before = append(before, [2]netip.Addr{from, begin.Prev()})
			}
		case begin.IsValid() && to.Less(begin):
			before = append(before, [2]netip.Addr{from, to})
		default:
			after = append(after, [2]netip.Addr{from, to})
		}
	}
	scanned := 0
	for _, r := range append(after, before...) {
		for address := r[0]; address.IsValid() && address.Compare(r[1]) <= 0; address = address.Next() {
			if scanned++; scanned > maxScan || !visit(address) {
				m.addresses.rovers[name] = address
				return
			}
		}
	}
}
