package state

import (
	"slices"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Feature levels. A program applies every entry up to its own Level; the farm's committed level says which entries may
// be written, and rises only when every member's program applies them. So programs of two releases that run side by
// side during an upgrade never read one entry differently.
const (
	// firstLevel is what every program applies.
	firstLevel = 1
	// sharesLevel brings teams' shares and held builders.
	sharesLevel = 2
	// roomLevel brings machines, groups and releases.
	roomLevel = 3
	// takeLevel brings secrets that machines read once in a boot.
	takeLevel = 4
	// bindLevel brings subnets, and what is bound to whom.
	bindLevel = 5
	// NamesLevel brings names in DNS.
	NamesLevel = sixLevel
	// SteadyLevel is from when on entries carry the farm's steady time.
	SteadyLevel = bindLevel
	// sixLevel bounds the bindings of subnets of IPv6, whose pools have no end, and forgets those that are over. It has the
	// addresses of machines that are described kept for them, and administrators free addresses.
	sixLevel = 6

	newestLevel = sixLevel
)

// levelCap lowers what this program says of itself, as -ldflags "-X …/coordinator/state.levelCap=1" sets it: the stand-in
// for an older release in tests of upgrades.
var levelCap string

// Level is the newest feature level that this program applies.
func Level() uint32 {
	if len(levelCap) == 1 && levelCap[0] >= '0'+firstLevel && levelCap[0] <= '0'+newestLevel {
		return uint32(levelCap[0] - '0')
	}
	return newestLevel
}

// LevelOf is the feature level that a command needs.
func LevelOf(c *kilnv1.Command) uint32 {
	switch c.GetCommand().(type) {
	case *kilnv1.Command_Team, *kilnv1.Command_Hold:
		return sharesLevel
	case *kilnv1.Command_Bind:
		switch c.GetBind().GetOperation() {
		case kilnv1.BindCommand_OPERATION_FORGET, kilnv1.BindCommand_OPERATION_FREE:
			return sixLevel
		}
		if c.GetBind().GetName() != "" || c.GetBind().GetNameless() {
			return NamesLevel
		}
		return bindLevel
	case *kilnv1.Command_Block:
		return bindLevel
	case *kilnv1.Command_Publish:
		return NamesLevel
	case *kilnv1.Command_Room:
		if slices.ContainsFunc(c.GetRoom().GetSubnets(), func(s *kilnv1.Subnet) bool { return s.GetDnsUpdate() != nil }) {
			return NamesLevel
		}
		if len(c.GetRoom().GetSubnets())+len(c.GetRoom().GetRemoveSubnets()) > 0 {
			return bindLevel
		}
		return roomLevel
	case *kilnv1.Command_Take:
		return takeLevel
	}
	return firstLevel
}

// FeatureLevel is the level that the farm has committed to.
func (m *Machine) FeatureLevel() uint32 { return m.level }

// NextLevel is the level that all members' programs apply; 0 when the farm has it already or knows no members.
func (m *Machine) NextLevel() uint32 {
	var least uint32
	for _, member := range m.members {
		if l := member.GetLevel(); least == 0 || l < least {
			least = l
		}
	}
	if least <= m.level {
		return 0
	}
	return least
}

func (m *Machine) raise(c *kilnv1.LevelCommand) Result {
	if c.GetLevel() > m.NextLevel() || c.GetLevel() <= m.level {
		return Result{Refused: RefusedInvalid}
	}
	m.level = c.GetLevel()
	return Result{}
}

// Members returns the farm's coordinators in the order of their ids. The caller may keep but not change them.
func (m *Machine) Members() []*kilnv1.Member {
	var all []*kilnv1.Member
	for _, member := range m.members {
		all = append(all, member)
	}
	slices.SortFunc(all, func(a, b *kilnv1.Member) int { return compare(a.GetId(), b.GetId()) })
	return all
}

// Member returns one coordinator, or nil.
func (m *Machine) Member(id string) *kilnv1.Member { return m.members[id] }

// Barred says that a coordinator was sent away for good.
func (m *Machine) Barred(id string) bool { return slices.Contains(m.barred, id) }

// maxBarred is how many ids of coordinators that were sent away are remembered.
const maxBarred = 1000

// member adds, changes or removes a member. One whose program is too old for what is written already is refused; one
// that comes to the address of another takes its place, since no address has two.
func (m *Machine) member(c *kilnv1.MemberCommand) Result {
	in := c.GetMember()
	id := in.GetId()
	switch {
	case id == "" || len(id) > maxID:
		return Result{Refused: RefusedInvalid}
	case c.GetRemove():
		if m.members[id] == nil {
			return Result{Refused: RefusedUnknown}
		}
		delete(m.members, id)
		if c.GetBar() && !m.Barred(id) {
			m.barred = append(m.barred[max(0, len(m.barred)-maxBarred+1):], id)
		}
		m.note(Change{Kind: MembersChanged})
		return Result{}
	case m.Barred(id):
		return Result{Refused: RefusedBarred}
	case in.GetLevel() < m.level:
		return Result{Refused: RefusedOld}
	}
	for other, have := range m.members {
		if other != id && have.GetAddress() == in.GetAddress() {
			delete(m.members, other)
		}
	}
	m.members[id] = in
	m.note(Change{Kind: MembersChanged})
	return Result{}
}
