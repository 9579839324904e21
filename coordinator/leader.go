package coordinator

import (
	"context"
	"log/slog"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/lead"
	"github.com/kiln-farm/kiln/coordinator/names"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/internal/bus"
)

// leader is what the API uses of a coordinator that leads.
type leader struct {
	*lead.Leader
	cfg  *Config
	node *replica.Node
	log  *slog.Logger

	feeds    *feeds
	spans    *spans
	second   *secondReader
	dispatch *dispatcher
	results  *resultsDuty
	members  *members
	room     *roomHub
	bindings *bindingHub
	names    *names.Duty
	watchers *watchers

	stopWriting context.CancelFunc
}

// shared is what several duties of a leader are made with.
type shared struct {
	feeds   *feeds
	spans   *spans
	second  *secondReader
	index   *index
	node    *replica.Node
	writing context.Context
}

// duties are what a coordinator does while it leads, in the order in which they begin and hear of changes.
func (c *Config) duties(s shared) []duty.Kind {
	subjects := bus.For(c.Farm)
	removeDead := time.Duration(0)
	if c.Cluster != nil {
		removeDead = c.Cluster.RemoveDead
	}
	return []duty.Kind{
		membersKind(membersOptions{node: s.node, self: c.self(), alone: c.Cluster == nil, removeDead: removeDead}),
		progressKind(s.feeds, c.Bus, subjects),
		dispatchKind(dispatchOptions{node: c.NodeID, bus: c.Bus, subjects: subjects, spans: s.spans, second: s.second, leased: c.Leased}),
		resultsKind(resultsOptions{index: s.index, feeds: s.feeds, spans: s.spans, second: s.second, writing: s.writing}),
		machinesKind(),
		bindingsKind(),
		forgetKind(),
		names.Kind(c.DNSKeys, c.dns),
		watchersKind(c.ClientPatience),
	}
}

// lead takes up leadership: the log so far is applied when it returns, and builders are listened to.
func (c *Coordinator) lead() (*leader, error) {
	writing, stop := context.WithCancel(context.Background())
	s := shared{feeds: newFeeds(), spans: newSpans(), second: c.second, index: c.index, node: c.node, writing: writing}
	core, err := lead.Take(lead.Options{
		Node: c.node, FSM: c.fsm, Store: c.cfg.Store, Blobs: c.cfg.Blobs, Now: c.cfg.Now, Log: c.cfg.Log, Duties: c.cfg.duties(s), Anew: c.anew,
	})
	if err != nil {
		stop()
		return nil, err
	}
	return &leader{
		Leader: core, cfg: &c.cfg, node: c.node, log: c.cfg.Log, feeds: s.feeds, spans: s.spans, second: c.second, stopWriting: stop,
		dispatch: lead.Of[*dispatcher](core), results: lead.Of[*resultsDuty](core), members: lead.Of[*members](core), room: lead.Of[*roomHub](core),
		bindings: lead.Of[*bindingHub](core), names: lead.Of[*names.Duty](core), watchers: lead.Of[*watchers](core),
	}, nil
}

// close gives leadership's duties up and waits until that is done. For a grace records are still written.
func (l *leader) close(grace time.Duration) {
	defer time.AfterFunc(grace, l.stopWriting).Stop()
	defer l.stopWriting()
	l.Close()
}
