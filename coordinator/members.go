package coordinator

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

// membersOptions are what the duty is made with beside its tools.
type membersOptions struct {
	node       *replica.Node
	self       *kilnv1.Member // what this coordinator tells of itself
	alone      bool           // the farm has one coordinator
	removeDead time.Duration  // of silence, then a coordinator is removed
}

// membersKind is the duty.
func membersKind(o membersOptions) duty.Kind {
	return duty.Kind{
		Name: "members", Does: "takes coordinators in, gives them votes, removes those that are gone, raises the feature level",
		Reads:    []state.Part{state.Members, state.Builds},
		Proposes: []state.CommandKind{"member", "level", "epoch"},
		New: func(t duty.Tools) duty.Duty {
			return &members{Tools: t, membersOptions: o, silence: silence{since: map[raft.ServerID]time.Time{}}}
		},
	}
}

// members looks after the farm's coordinators.
type members struct {
	duty.Tools
	duty.Passive
	membersOptions
	silence silence    // of other coordinators
	placing sync.Mutex // held while raft's configuration changes
}

// Found implements duty.Founder: a state that is new gets its first numbering of leases.
func (l *members) Found(ctx context.Context) error {
	var epoch uint64
	l.View(func(m *state.Machine) { epoch = m.Epoch() })
	if err := l.raiseAlone(ctx, epoch == 0); err != nil || epoch > 0 {
		return err
	}
	_, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Epoch{Epoch: &kilnv1.EpochCommand{Epoch: uint64(l.Now().UnixMilli())}}})
	return err
}

// Run implements duty.Duty.
func (l *members) Run(ctx context.Context) {
	defer l.measure()()
	if l.alone {
		<-ctx.Done()
		return
	}
	l.Spawn(func() { l.listenToPeers(ctx) })
	l.tend(ctx)
}

// measure tells what there is now, until stop is called.
func (l *members) measure() (stop func()) {
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
func (l *members) listenToPeers(ctx context.Context) {
	seen := make(chan raft.Observation, 64)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.FailedHeartbeatObservation, raft.ResumedHeartbeatObservation, raft.RaftState:
			return true
		}
		return false
	})
	l.node.RegisterObserver(observer)
	defer l.node.DeregisterObserver(observer)
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
func (l *members) tend(ctx context.Context) {
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

func (l *members) tendOnce(ctx context.Context) error {
	var next uint32
	l.View(func(m *state.Machine) { next = m.NextLevel() })
	if next > 0 {
		raise := &kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: next}}}
		if _, err := l.Propose(ctx, raise); err != nil {
			return err
		}
		l.Log.Info("the farm's feature level is raised: all coordinators' programs apply it", "level", next)
	}
	if dead := deadServer(l.node.Servers(), raft.ServerID(l.self.GetId()), l.silence.of, l.removeDead); dead != "" {
		l.Log.Warn("a coordinator is removed since it has not been heard of", "node", dead, "silent", l.silence.of(dead).Round(time.Second))
		return l.remove(ctx, string(dead), false)
	}
	return nil
}

// raiseAlone gives a farm that nobody else has a say in the feature level of this program: one without a cluster, or
// one that has just been born.
func (l *members) raiseAlone(ctx context.Context, born bool) error {
	behind := false
	l.View(func(m *state.Machine) { behind = m.FeatureLevel() < state.Level() })
	if !behind || !l.alone && !born {
		return nil
	}
	_, err := l.Propose(ctx,
		&kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: l.self}}},
		&kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: state.Level()}}})
	return err
}

// deadServer is one that is to be removed: one whose place another has taken, or one that was silent for very long.
// Nothing is removed while it would leave fewer than a majority that is heard.
func deadServer(servers []raft.Server, self raft.ServerID, silent func(raft.ServerID) time.Duration, longest time.Duration) raft.ServerID {
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

// notTaken: the farm does not take a coordinator, and asking again will not help.
type notTaken struct {
	text    string
	invalid bool // what it says of itself makes no sense
}

func (e *notTaken) Error() string { return e.text }

// announced takes a coordinator in, or notes what has changed of it. It votes once it has come near to what is
// committed, so that one that is far behind or that disappears again does not hold the others up.
func (l *members) announced(ctx context.Context, req *kilnv1.AnnounceRequest) (*kilnv1.AnnounceResponse, error) {
	in := req.GetMember()
	results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: in}}})
	if err != nil {
		return nil, err
	}
	switch r := results[0].Refused; r {
	case "":
	case state.RefusedOld:
		return nil, &notTaken{text: fmt.Sprintf(
			"coordinator %s runs release %s, which is too old for this farm (it applies feature level %d): install the release that the others run", in.GetId(), in.GetVersion(), in.GetLevel())}
	case state.RefusedBarred:
		return nil, &notTaken{text: fmt.Sprintf(
			"coordinator %s was removed from the farm: to bring this host back, join it with an empty data directory and a new token", in.GetId())}
	default:
		return nil, &notTaken{text: fmt.Sprintf("coordinator %.80q is refused: %s", in.GetId(), r), invalid: true}
	}
	voter, err := l.place(raft.ServerID(in.GetId()), raft.ServerAddress(in.GetAddress()), req.GetApplied())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", replica.ErrNotLeading, err)
	}
	answer := &kilnv1.AnnounceResponse{Commit: l.node.CommitIndex(), Voter: voter}
	l.View(func(m *state.Machine) { answer.Members = m.Members() })
	return answer, nil
}

// place gives a coordinator its place in raft.
func (l *members) place(id raft.ServerID, address raft.ServerAddress, applied uint64) (voter bool, err error) {
	l.placing.Lock() // a change of raft's configuration at a time
	defer l.placing.Unlock()
	here := false
	for _, s := range l.node.Servers() {
		switch {
		case s.ID == id && s.Address == address && s.Suffrage == raft.Voter:
			return true, nil
		case s.ID == id:
			here = s.Address == address
		case s.Address == address: // it lost its disk and comes back under a new name
			l.Log.Warn("a coordinator takes the place of another at its address", "node", id, "last", s.ID, "address", address)
			if err := l.node.RemoveServer(s.ID, 0, replica.ApplyTimeout).Error(); err != nil {
				return false, err
			}
		}
	}
	if here && applied+caughtUp >= l.node.CommitIndex() {
		l.Log.Info("a coordinator votes from now on", "node", id, "address", address)
		return true, l.node.AddVoter(id, address, 0, replica.ApplyTimeout).Error()
	}
	if !here {
		l.Log.Info("a coordinator joins", "node", id, "address", address)
		return false, l.node.AddNonvoter(id, address, 0, replica.ApplyTimeout).Error()
	}
	return false, nil
}

// errLastMajority: the change would leave the farm without a majority.
var errLastMajority = errors.New("the farm would be left without a majority of coordinators that answer")

// remove takes a coordinator out of raft and of the state; with bar it may not come back by itself.
func (l *members) remove(ctx context.Context, id string, bar bool) error {
	l.placing.Lock()
	defer l.placing.Unlock()
	voters, heard := 0, 0
	for _, s := range l.node.Servers() {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(id) {
			voters++
			if s.ID == raft.ServerID(l.self.GetId()) || l.silence.of(s.ID) == 0 {
				heard++
			}
		}
	}
	if heard <= voters/2 {
		return errLastMajority
	}
	command := &kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: &kilnv1.Member{Id: id}, Remove: true, Bar: bar}}}
	if _, err := l.Propose(ctx, command); err != nil {
		return err
	}
	return l.node.RemoveServer(raft.ServerID(id), 0, replica.ApplyTimeout).Error()
}

// status is what the leader knows of all coordinators.
func (l *members) status() []*kilnv1.MemberStatus {
	var all []*kilnv1.MemberStatus
	votes := map[string]raft.Server{}
	for _, s := range l.node.Servers() {
		votes[string(s.ID)] = s
	}
	l.View(func(m *state.Machine) {
		for _, member := range m.Members() {
			s, here := votes[member.GetId()]
			quiet := l.silence.of(s.ID)
			all = append(all, &kilnv1.MemberStatus{
				Member: member, Leader: member.GetId() == l.self.GetId(), Voter: here && s.Suffrage == raft.Voter,
				Alive: here && quiet == 0, SilentMs: quiet.Milliseconds(),
			})
		}
	})
	return all
}
