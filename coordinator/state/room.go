package state

import (
	"maps"
	"slices"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// room is what machines are to boot: a part of the state of its own, whose commands touch nothing else. Its values are
// never changed, only replaced.
type room struct {
	revision uint64
	tokenKey []byte
	machines map[string]*kilnv1.Machine // by name
	groups   map[string]*kilnv1.Group
	releases map[string]*kilnv1.Release
	subnets  map[string]*kilnv1.Subnet
	taken    map[string]*kilnv1.SnapshotTaken // by machine
}

const (
	maxMachines = 100_000
	maxGroups   = 10_000
	maxReleases = 10_000
	tokenKeyLen = 32
)

func newRoom() room {
	return room{machines: map[string]*kilnv1.Machine{}, groups: map[string]*kilnv1.Group{},
		releases: map[string]*kilnv1.Release{},
		subnets:  map[string]*kilnv1.Subnet{}, taken: map[string]*kilnv1.SnapshotTaken{}}
}

func (r room) clone() room {
	r.machines, r.groups, r.releases = maps.Clone(r.machines), maps.Clone(r.groups), maps.Clone(r.releases)
	r.subnets, r.taken = maps.Clone(r.subnets), maps.Clone(r.taken)
	return r
}

// Intent is everything that edges need to know, in the order of names. The caller may keep but not change it.
func (m *Machine) Intent() *kilnv1.Intent {
	return &kilnv1.Intent{
		Revision: m.room.revision, TokenKey: m.room.tokenKey,
		Machines: byName(m.room.machines), Groups: byName(m.room.groups), Releases: byName(m.room.releases), Subnets: byName(m.room.subnets),
	}
}

// RoomRevision grows with every change of the intent.
func (m *Machine) RoomRevision() uint64 { return m.room.revision }

func byName[T any](all map[string]T) []T {
	out := make([]T, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out
}

// changeRoom applies a change as a whole. Whether it makes sense is the leader's to check, who knows what was there
// before by its revision; what is checked here keeps the state sound.
func (m *Machine) changeRoom(c *kilnv1.RoomCommand) Result {
	if c.GetBase() != m.room.revision {
		return Result{Refused: RefusedStale}
	}
	if n := len(c.GetTokenKey()); n != 0 && n != tokenKeyLen {
		return Result{Refused: RefusedInvalid}
	}
	if len(m.Conflicts(c)) > 0 {
		return Result{Refused: RefusedHeld}
	}
	next := m.room.clone()
	if !change(next.machines, c.GetMachines(), c.GetRemoveMachines(), maxMachines) ||
		!change(next.groups, c.GetGroups(), c.GetRemoveGroups(), maxGroups) ||
		!change(next.releases, c.GetReleases(), c.GetRemoveReleases(), maxReleases) ||
		!change(next.subnets, c.GetSubnets(), c.GetRemoveSubnets(), maxSubnets) {
		return Result{Refused: RefusedInvalid}
	}
	if next.tokenKey == nil {
		next.tokenKey = c.GetTokenKey()
	}
	next.revision++
	m.room = next
	m.reserve()
	m.dropSubnets(c.GetRemoveSubnets())
	m.note(Change{Kind: RoomChanged})
	return Result{}
}

// change removes and puts; false when a name is none, or there would be too many.
func change[T interface{ GetName() string }](all map[string]T, put []T, remove []string, most int) bool {
	for _, name := range remove {
		delete(all, name)
	}
	for _, v := range put {
		if name := v.GetName(); name == "" || len(name) > maxID {
			return false
		}
		all[v.GetName()] = v
	}
	return len(all) <= most
}

// records are the room in a snapshot.
func (r *room) records() []*kilnv1.SnapshotRecord {
	var out []*kilnv1.SnapshotRecord
	for _, machine := range slices.Sorted(maps.Keys(r.taken)) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Taken{Taken: r.taken[machine]}})
	}
	if r.revision == 0 {
		return out
	}
	out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Room{Room: &kilnv1.SnapshotRoom{Revision: r.revision, TokenKey: r.tokenKey}}})
	for _, v := range byName(r.machines) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Machine{Machine: v}})
	}
	for _, v := range byName(r.groups) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Group{Group: v}})
	}
	for _, v := range byName(r.releases) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Release{Release: v}})
	}
	for _, v := range byName(r.subnets) {
		out = append(out, &kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Subnet{Subnet: v}})
	}
	return out
}

// restore takes a record that records made; false for others.
func (r *room) restore(record *kilnv1.SnapshotRecord) bool {
	switch v := record.GetRecord().(type) {
	case *kilnv1.SnapshotRecord_Room:
		r.revision, r.tokenKey = v.Room.GetRevision(), v.Room.GetTokenKey()
	case *kilnv1.SnapshotRecord_Machine:
		r.machines[v.Machine.GetName()] = v.Machine
	case *kilnv1.SnapshotRecord_Group:
		r.groups[v.Group.GetName()] = v.Group
	case *kilnv1.SnapshotRecord_Release:
		r.releases[v.Release.GetName()] = v.Release
	case *kilnv1.SnapshotRecord_Subnet:
		r.subnets[v.Subnet.GetName()] = v.Subnet
	case *kilnv1.SnapshotRecord_Taken:
		r.taken[v.Taken.GetMachine()] = v.Taken
	default:
		return false
	}
	return true
}
