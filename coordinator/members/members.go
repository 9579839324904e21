package members

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	caughtUp       = 256              // entries that one who joins may lag behind and yet vote
	removeReplaced = 30 * time.Second // of silence, then a coordinator goes whose place another has taken
	fullFarm       = 3                // voters without which the loss of one is not survived
	tendEvery      = time.Second
)

// Options are what the duty is made with beside its tools.
type Options struct {
	Node       *replica.Node
	Self       *kilnv1.Member // what this coordinator tells of itself
	Alone      bool           // the farm has one coordinator
	RemoveDead time.Duration  // of silence, then a coordinator is removed
}

// Kind is the duty.
func Kind(o Options) duty.Kind {
	return duty.Kind{
		Name: "members", Does: "takes coordinators in, gives them votes, removes those that are gone, raises the feature level",
		Reads:    []state.Part{state.Members, state.Builds},
		Proposes: []state.CommandKind{"member", "level", "epoch"},
		New: func(t duty.Tools) duty.Duty {
			return &Duty{Tools: t, Options: o, silence: silence{since: map[raft.ServerID]time.Time{}}}
		},
	}
}

// Duty looks after the farm's coordinators.
type Duty struct {
	duty.Tools
	duty.Passive
	Options
	silence silence    // of other coordinators
	placing sync.Mutex // held while raft's configuration changes
}

// Found implements duty.Founder: a state that is new gets its first numbering of leases.
func (l *Duty) Found(ctx context.Context) error {
	var epoch uint64
	l.View(func(m *state.Machine) { epoch = m.Epoch() })
	if err := l.raiseAlone(ctx, epoch == 0); err != nil || epoch > 0 {
		return err
	}
	_, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Epoch{Epoch: &kilnv1.EpochCommand{Epoch: uint64(l.Now().UnixMilli())}}})
	return err
}

// Run implements duty.Duty.
func (l *Duty) Run(ctx context.Context) {
	defer l.measure()()
	if l.Alone {
		<-ctx.Done()
		return
	}
	l.Spawn(func() { l.listenToPeers(ctx) })
	l.tend(ctx)
}

// measure tells what there is now, until stop is called.
func (l *Duty) measure() (stop func()) {
	return meter.Of("coordinator").Gauge("kiln.leader.term", "{term}", "Raft's term, where this coordinator leads", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(l.Term()))
	})
}

// silence is since when the leader has not heard other coordinators.
type silence struct {
	mu    sync.Mutex // guards since
	since map[raft.ServerID]time.Time
}

func (s *silence) set(id raft.ServerID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.IsZero() {
		delete(s.since, id)
	} else if s.since[id].IsZero() {
		s.since[id] = at
	}
}

// of is how long a coordinator has been silent; 0 when it is heard.
func (s *silence) of(id raft.ServerID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.since[id]; !at.IsZero() {
		return time.Since(at)
	}
	return 0
}

// hear takes what raft observes.
func (s *silence) hear(observed any, now time.Time) {
	switch heard := observed.(type) {
	case raft.FailedHeartbeatObservation:
		s.set(heard.PeerID, now)
	case raft.ResumedHeartbeatObservation:
		s.set(heard.PeerID, time.Time{})
	case raft.RaftState:
		// Raft may lose and win an election before anybody here sees it. It tells of what fails from then on, and not that what
		// failed before works again.
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.since)
	}
}

// listenToPeers notes which other coordinators raft hears, until leadership ends.
func (l *Duty) listenToPeers(ctx context.Context) {
	seen := make(chan raft.Observation, 64)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.FailedHeartbeatObservation, raft.ResumedHeartbeatObservation, raft.RaftState:
			return true
		}
		return false
	})
	l.Node.RegisterObserver(observer)
	defer l.Node.DeregisterObserver(observer)
	for {
		select {
		case o := <-seen:
			l.silence.hear(o.Data, time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// tend raises the feature level when all members' programs allow it, and removes members that are gone.
func (l *Duty) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		if err := l.tendOnce(ctx); err != nil && ctx.Err() == nil {
			l.Log.Warn("the farm's members could not be looked after; trying again", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Duty) tendOnce(ctx context.Context) error {
	var next uint32
	l.View(func(m *state.Machine) { next = m.NextLevel() })
	if next > 0 {
		raise := &kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: next}}}
		if _, err := l.Propose(ctx, raise); err != nil {
			return err
		}
		l.Log.Info("the farm's feature level is raised: all coordinators' programs apply it", "level", next)
	}
	if dead := DeadServer(l.Node.Servers(), raft.ServerID(l.Self.GetId()), l.silence.of, l.RemoveDead); dead != "" {
		l.Log.Warn("a coordinator is removed since it has not been heard of", "node", dead, "silent", l.silence.of(dead).Round(time.Second))
		return l.Remove(ctx, string(dead), false)
	}
	return nil
}

// raiseAlone gives a farm that nobody else has a say in the feature level of this program: one without a cluster, or
// one that has just been born.
func (l *Duty) raiseAlone(ctx context.Context, born bool) error {
	behind := false
	l.View(func(m *state.Machine) { behind = m.FeatureLevel() < state.Level() })
	if !behind || !l.Alone && !born {
		return nil
	}
	_, err := l.Propose(ctx,
		&kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: l.Self}}},
		&kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: state.Level()}}})
	return err
}

// DeadServer is one that is to be removed: one whose place another has taken, or one that was silent for very long.
// Nothing is removed while it would leave fewer than a majority that is heard.
func DeadServer(servers []raft.Server, self raft.ServerID, silent func(raft.ServerID) time.Duration, longest time.Duration) raft.ServerID {
	voters, heard := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == self || silent(s.ID) == 0 {
			heard++
		}
	}
	for _, s := range servers {
		quiet := silent(s.ID)
		if s.ID == self || quiet == 0 {
			continue
		}
		left := voters
		if s.Suffrage == raft.Voter {
			left--
		}
		if heard <= left/2 {
			continue
		}
		if quiet > longest || quiet > removeReplaced && heard >= fullFarm && s.Suffrage == raft.Voter {
			return s.ID
		}
	}
	return ""
}

// NotTakenError the farm does not take a coordinator, and asking again will not help.
type NotTakenError struct {
	text    string
	Invalid bool // what it says of itself makes no sense
}

func (e *NotTakenError) Error() string { return e.text }

// Announce takes a coordinator in, or notes what has changed of it. It votes once it has come near to what is
// committed, so that one that is far behind or that disappears again does not hold the others up.
func (l *Duty) Announce(ctx context.Context, req *kilnv1.AnnounceRequest) (*kilnv1.AnnounceResponse, error) {
	in := req.GetMember()
	results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: in}}})
	if err != nil {
		return nil, err
	}
	switch r := results[0].Refused; r {
	case "":
	case state.RefusedOld:
		return nil, &NotTakenError{text: fmt.Sprintf(
			"coordinator %s runs release %s, which is too old for this farm (it applies feature level %d): install the release that the others run", in.GetId(), in.GetVersion(), in.GetLevel())}
	case state.RefusedBarred:
		return nil, &NotTakenError{text: fmt.Sprintf(
			"coordinator %s was removed from the farm: to bring this host back, join it with an empty data directory and a new token", in.GetId())}
	default:
		return nil, &NotTakenError{text: fmt.Sprintf("coordinator %.80q is refused: %s", in.GetId(), r), Invalid: true}
	}
	voter, err := l.place(raft.ServerID(in.GetId()), raft.ServerAddress(in.GetAddress()), req.GetApplied())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", replica.ErrNotLeading, err)
	}
	answer := &kilnv1.AnnounceResponse{Commit: l.Node.CommitIndex(), Voter: voter}
	l.View(func(m *state.Machine) { answer.Members = m.Members() })
	return answer, nil
}

// place gives a coordinator its place in raft.
func (l *Duty) place(id raft.ServerID, address raft.ServerAddress, applied uint64) (voter bool, err error) {
	l.placing.Lock() // a change of raft's configuration at a time
	defer l.placing.Unlock()
	here := false
	for _, s := range l.Node.Servers() {
		switch {
		case s.ID == id && s.Address == address && s.Suffrage == raft.Voter:
			return true, nil
		case s.ID == id:
			here = s.Address == address
		case s.Address == address: // it lost its disk and comes back under a new name
			l.Log.Warn("a coordinator takes the place of another at its address", "node", id, "last", s.ID, "address", address)
			if err := l.Node.RemoveServer(s.ID, 0, replica.ApplyTimeout).Error(); err != nil {
				return false, err
			}
		}
	}
	if here && applied+caughtUp >= l.Node.CommitIndex() {
		l.Log.Info("a coordinator votes from now on", "node", id, "address", address)
		return true, l.Node.AddVoter(id, address, 0, replica.ApplyTimeout).Error()
	}
	if !here {
		l.Log.Info("a coordinator joins", "node", id, "address", address)
		return false, l.Node.AddNonvoter(id, address, 0, replica.ApplyTimeout).Error()
	}
	return false, nil
}

// errLastMajority: the change would leave the farm without a majority.
var ErrLastMajority = errors.New("the farm would be left without a majority of coordinators that answer")

// Remove takes a coordinator out of raft and of the state; with bar it may not come back by itself.
func (l *Duty) Remove(ctx context.Context, id string, bar bool) error {
	l.placing.Lock()
	defer l.placing.Unlock()
	voters, heard := 0, 0
	for _, s := range l.Node.Servers() {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(id) {
			voters++
			if s.ID == raft.ServerID(l.Self.GetId()) || l.silence.of(s.ID) == 0 {
				heard++
			}
		}
	}
	if heard <= voters/2 {
		return ErrLastMajority
	}
	command := &kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: &kilnv1.Member{Id: id}, Remove: true, Bar: bar}}}
	if _, err := l.Propose(ctx, command); err != nil {
		return err
	}
	return l.Node.RemoveServer(raft.ServerID(id), 0, replica.ApplyTimeout).Error()
}

// Status is what the leader knows of all coordinators.
func (l *Duty) Status() []*kilnv1.MemberStatus {
	var all []*kilnv1.MemberStatus
	votes := map[string]raft.Server{}
	for _, s := range l.Node.Servers() {
		votes[string(s.ID)] = s
	}
	l.View(func(m *state.Machine) {
		for _, member := range m.Members() {
			s, here := votes[member.GetId()]
			quiet := l.silence.of(s.ID)
			all = append(all, &kilnv1.MemberStatus{
				Member: member, Leader: member.GetId() == l.Self.GetId(), Voter: here && s.Suffrage == raft.Voter,
				Alive: here && quiet == 0, SilentMs: quiet.Milliseconds(),
			})
		}
	})
	return all
}
