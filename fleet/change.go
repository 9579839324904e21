package fleet

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Apply is what a change makes of an intent: what it removes goes first, then what it puts replaces what has the same name.
// Each list is sorted by name. Neither is changed, nor checked.
func Apply(now *kilnv1.Intent, c *kilnv1.RoomCommand) *kilnv1.Intent {
	return &kilnv1.Intent{
		Revision: now.GetRevision() + 1, TokenKey: now.GetTokenKey(),
		Machines: changed(now.GetMachines(), c.GetMachines(), c.GetRemoveMachines()),
		Groups:   changed(now.GetGroups(), c.GetGroups(), c.GetRemoveGroups()),
		Releases: changed(now.GetReleases(), c.GetReleases(), c.GetRemoveReleases()),
		Subnets:  changed(now.GetSubnets(), c.GetSubnets(), c.GetRemoveSubnets()),
	}
}

func changed[T interface{ GetName() string }](now, put []T, remove []string) []T {
	all := map[string]T{}
	for _, v := range now {
		all[v.GetName()] = v
	}
	for _, name := range remove {
		delete(all, name)
	}
	for _, v := range put {
		all[v.GetName()] = v
	}
	out := make([]T, 0, len(all))
	for _, v := range all {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// Difference is the change that makes next of now; what is the same is left out.
func Difference(now, next *kilnv1.Intent) *kilnv1.RoomCommand {
	c := &kilnv1.RoomCommand{Base: now.GetRevision()}
	c.Machines, c.RemoveMachines = differing(now.GetMachines(), next.GetMachines())
	c.Groups, c.RemoveGroups = differing(now.GetGroups(), next.GetGroups())
	c.Releases, c.RemoveReleases = differing(now.GetReleases(), next.GetReleases())
	c.Subnets, c.RemoveSubnets = differing(now.GetSubnets(), next.GetSubnets())
	return c
}

func differing[T interface {
	proto.Message
	GetName() string
}](now, next []T) (put []T, remove []string) {
	was := map[string]T{}
	for _, v := range now {
		was[v.GetName()] = v
	}
	for _, v := range next {
		if old, ok := was[v.GetName()]; !ok || !proto.Equal(old, v) {
			put = append(put, v)
		}
		delete(was, v.GetName())
	}
	for _, v := range now {
		if _, gone := was[v.GetName()]; gone {
			remove = append(remove, v.GetName())
		}
	}
	return put, remove
}
