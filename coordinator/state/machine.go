package state

import (
	"maps"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// Machine is the state of a farm. It is not safe for concurrent use.
type Machine struct {
	now    int64 // ms since 1970, never goes back
	epoch  uint64
	leases uint64 // the number of the last one
	order  uint64 // of the last build submitted
	level  uint32 // the feature level that is committed

	builds  map[string]*Build
	tasks   map[string]*Task
	seen    []seen // ids of builds that have left, oldest first
	members map[string]*kilnv1.Member
	barred  []string // ids of members that may not come back, oldest first
	teams   map[string]*kilnv1.Team
	holds   map[string]*kilnv1.HoldCommand // by builder
	// underWays are the builds of each team that have not ended; made of builds.
	underWays map[string][]inLine

	room      room
	addresses addresses
	published map[string]*kilnv1.DNSRecord // by recordKey

	generation uint64 // of snapshots: what an older one may hold is copied before it is changed
	changes    []Change
}

// seen is a build that has left the state not long ago.
type seen struct {
	build string
	at    int64
}

// New returns the state of a farm that has done nothing yet.
func New() *Machine {
	return &Machine{
		level: firstLevel, builds: map[string]*Build{}, tasks: map[string]*Task{},
		members: map[string]*kilnv1.Member{}, teams: map[string]*kilnv1.Team{}, holds: map[string]*kilnv1.HoldCommand{}, underWays: map[string][]inLine{},
		room: newRoom(), addresses: newAddresses(), published: map[string]*kilnv1.DNSRecord{},
	}
}

// Refusal says why a command changed nothing; empty when it was applied.
type Refusal string

// Reasons to refuse a command.
const (
	RefusedInvalid  Refusal = "the command is not valid"
	RefusedLevel    Refusal = "the command needs a newer feature level"
	RefusedBarred   Refusal = "it was removed from the farm for good"
	RefusedOld      Refusal = "its program is older than what the farm has written already"
	RefusedUnknown  Refusal = "no such build or task is in the state"
	RefusedStale    Refusal = "the lease is not current"
	RefusedNotReady Refusal = "the task is not ready"
	RefusedEnded    Refusal = "the build has ended"
	RefusedTaken    Refusal = "it was taken before"
	RefusedTooEarly Refusal = "the build has not come that far"
)

// Result is the answer to one command.
type Result struct {
	Refused  Refusal
	Existing bool            // Submit: the build was there before
	Lease    uint64          // Lease: its number
	Binding  *kilnv1.Binding // Bind: what there is now; with RefusedElsewhere the other one
	Block    *kilnv1.Block   // Block: what was lent
	Name     string          // Bind: under which the client is published in DNS; empty: it is not
}

// Outcome is the answer to one entry.
type Outcome struct {
	Results []Result // one for each command
	Changes []Change // what the leader acts on, in order
}

// Decode reads an entry of the log.
func Decode(data []byte) (*kilnv1.Entry, error) {
	entry := &kilnv1.Entry{}
	return entry, proto.Unmarshal(data, entry)
}

// Apply applies one entry. Equal machines stay equal.
func (m *Machine) Apply(entry *kilnv1.Entry) Outcome {
	out := Outcome{Results: make([]Result, len(entry.GetCommands()))}
	if entry.GetLevel() > Level() {
		for i := range out.Results {
			out.Results[i].Refused = RefusedLevel
		}
		return out
	}
	m.now = max(m.now, entry.GetUnixMs())
	m.addresses.steady = max(m.addresses.steady, entry.GetSteadyMs())
	for i, c := range entry.GetCommands() {
		out.Results[i] = m.command(c)
	}
	out.Changes, m.changes = m.changes, nil
	return out
}

func (m *Machine) command(c *kilnv1.Command) Result {
	if LevelOf(c) > m.level {
		return Result{Refused: RefusedLevel}
	}
	switch c := c.GetCommand().(type) {
	case *kilnv1.Command_Submit:
		return m.submit(c.Submit)
	case *kilnv1.Command_Attach:
		return m.attach(c.Attach)
	case *kilnv1.Command_Looked:
		return m.looked(c.Looked)
	case *kilnv1.Command_Lease:
		return m.lease(c.Lease)
	case *kilnv1.Command_Complete:
		return m.complete(c.Complete)
	case *kilnv1.Command_Expire:
		return m.expire(c.Expire)
	case *kilnv1.Command_Release:
		return m.release(c.Release)
	case *kilnv1.Command_Cancel:
		return m.end(c.Cancel.GetBuild(), kilnv1.BuildState_BUILD_STATE_CANCELED, c.Cancel.GetReason())
	case *kilnv1.Command_Fail:
		return m.end(c.Fail.GetBuild(), kilnv1.BuildState_BUILD_STATE_FAILED, c.Fail.GetError())
	case *kilnv1.Command_Finish:
		return m.finish(c.Finish)
	case *kilnv1.Command_Lost:
		return m.lost(c.Lost)
	case *kilnv1.Command_Forget:
		return m.forget(c.Forget.GetBuild())
	case *kilnv1.Command_Epoch:
		m.epoch = max(m.epoch+1, c.Epoch.GetEpoch())
		return Result{}
	case *kilnv1.Command_Member:
		return m.member(c.Member)
	case *kilnv1.Command_Level:
		return m.raise(c.Level)
	case *kilnv1.Command_Team:
		return m.team(c.Team)
	case *kilnv1.Command_Hold:
		return m.hold(c.Hold)
	case *kilnv1.Command_Room:
		return m.changeRoom(c.Room)
	case *kilnv1.Command_Take:
		return m.take(c.Take)
	case *kilnv1.Command_Bind:
		return m.bind(c.Bind)
	case *kilnv1.Command_Block:
		return m.grant(c.Block)
	case *kilnv1.Command_Publish:
		return m.publish(c.Publish)
	}
	return Result{Refused: RefusedInvalid}
}

// Now is the state's time, in ms since 1970.
func (m *Machine) Now() int64 { return m.now }

// Epoch is the current numbering of leases; 0 before the first.
func (m *Machine) Epoch() uint64 { return m.epoch }

// freeze returns a machine that shows this one as it is now and that later changes leave alone.
func (m *Machine) freeze() *Machine {
	frozen := *m
	frozen.builds = maps.Clone(m.builds)
	frozen.tasks = maps.Clone(m.tasks)
	frozen.members, frozen.teams, frozen.holds = maps.Clone(m.members), maps.Clone(m.teams), maps.Clone(m.holds)
	frozen.room, frozen.addresses, frozen.published = m.room.clone(), m.addresses.clone(), maps.Clone(m.published)
	m.seen = m.seen[:len(m.seen):len(m.seen)]
	m.barred = m.barred[:len(m.barred):len(m.barred)]
	frozen.underWays = nil // what a snapshot holds is what this follows from
	m.generation++
	return &frozen
}
