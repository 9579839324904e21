package leasefile

import (
	"maps"
	"net/netip"
	"slices"
)

// Companions are the names beside which Kea keeps a lease file while it cleans it up, in the order that it reads them: of an
// address the last line counts (Kea ARM, "Why Is Lease File Cleanup Necessary?"; kea-lfc(8)). When the one that ends in
// ".completed" is there, those that end in ".2" and ".1" are in it and are to be left out.
func Companions(name string) []string {
	return []string{name + ".completed", name + ".2", name + ".1", name}
}

// Merge puts files of one server together, the oldest first: of an address the last file that knows it says who holds it. It
// leaves out notes, whose lines are those of their own files.
func Merge(files ...*File) *File {
	out := &File{free: map[netip.Addr]bool{}}
	leases := map[netip.Addr]Lease{}
	for _, f := range files {
		out.Subnets = append(out.Subnets, f.Subnets...)
		out.Reservations = append(out.Reservations, f.Reservations...)
		for a := range f.free {
			delete(leases, a)
			out.free[a] = true
		}
		for _, l := range f.Leases {
			delete(out.free, l.Address)
			leases[l.Address] = l
		}
	}
	out.Leases = slices.SortedFunc(maps.Values(leases), func(x, y Lease) int { return x.Address.Compare(y.Address) })
	return out
}
