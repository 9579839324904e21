package fleet

import (
	"cmp"
	"slices"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Index finds machines and their groups in an intent. It is made once for each intent, is not changed afterwards, and may be
// used by many at once; the intent must not be changed either. Finding costs no more for ten thousand machines than for ten.
type Index struct {
	revision uint64
	byName   map[string]*kilnv1.Machine
	byMAC    map[string]*kilnv1.Machine
	byUUID   map[string]*kilnv1.Machine
	releases map[string]*kilnv1.Release
	byLabel  map[label][]*kilnv1.Group // by one label of the selector
	everyone []*kilnv1.Group           // without selector
	unknown  []*kilnv1.Group           // for machines that nobody described, the one that decides first
}

type label struct{ key, value string }

// NewIndex makes an Index of any intent; of two objects with one name or address the first counts.
func NewIndex(in *kilnv1.Intent) *Index {
	x := &Index{
		revision: in.GetRevision(),
		byName:   make(map[string]*kilnv1.Machine, len(in.GetMachines())),
		byMAC:    make(map[string]*kilnv1.Machine, len(in.GetMachines())),
		byUUID:   map[string]*kilnv1.Machine{},
		releases: map[string]*kilnv1.Release{},
		byLabel:  map[label][]*kilnv1.Group{},
	}
	for _, m := range in.GetMachines() {
		first(x.byName, m.GetName(), m)
		for _, mac := range m.GetMacs() {
			first(x.byMAC, mac, m)
		}
		first(x.byUUID, m.GetUuid(), m)
	}
	for _, r := range in.GetReleases() {
		first(x.releases, r.GetName(), r)
	}
	for _, g := range in.GetGroups() {
		if g.GetUnknown() {
			x.unknown = append(x.unknown, g)
		}
		if len(g.GetSelector()) == 0 {
			x.everyone = append(x.everyone, g)
			continue
		}
		// Any label of the selector would do; the least keeps an index of the same intent the same.
		var least label
		for key, value := range g.GetSelector() {
			if least.key == "" || key < least.key {
				least = label{key, value}
			}
		}
		x.byLabel[least] = append(x.byLabel[least], g)
	}
	decidingFirst(x.unknown)
	return x
}

func first[T any](into map[string]*T, key string, v *T) {
	if _, ok := into[key]; !ok && key != "" {
		into[key] = v
	}
}

// selecting are the groups that select a machine with these labels, the one that decides first.
func (x *Index) selecting(labels map[string]string) []*kilnv1.Group {
	groups := slices.Clone(x.everyone)
	for key, value := range labels {
		for _, g := range x.byLabel[label{key, value}] {
			if selects(g, labels) {
				groups = append(groups, g)
			}
		}
	}
	decidingFirst(groups)
	return groups
}

func selects(g *kilnv1.Group, labels map[string]string) bool {
	for key, value := range g.GetSelector() {
		if has, ok := labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// decidingFirst sorts by priority. Names order what Check refuses, so that every edge still does the same.
func decidingFirst(groups []*kilnv1.Group) {
	slices.SortStableFunc(groups, func(a, b *kilnv1.Group) int {
		return cmp.Or(cmp.Compare(b.GetPriority(), a.GetPriority()), cmp.Compare(a.GetName(), b.GetName()))
	})
}
