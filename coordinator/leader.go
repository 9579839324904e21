package coordinator

import (
	"context"
	"log/slog"
	"time"

	"github.com/kiln-farm/kiln/coordinator/bindings"
	"github.com/kiln-farm/kiln/coordinator/dispatch"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/feed"
	"github.com/kiln-farm/kiln/coordinator/forget"
	"github.com/kiln-farm/kiln/coordinator/lead"
	"github.com/kiln-farm/kiln/coordinator/machines"
	"github.com/kiln-farm/kiln/coordinator/members"
	"github.com/kiln-farm/kiln/coordinator/names"
	"github.com/kiln-farm/kiln/coordinator/progress"
	"github.com/kiln-farm/kiln/coordinator/recheck"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/results"
	"github.com/kiln-farm/kiln/coordinator/spans"
	"github.com/kiln-farm/kiln/coordinator/watchers"
	"github.com/kiln-farm/kiln/internal/bus"
)

// leader is what the API uses of a coordinator that leads.
type leader struct {
	*lead.Leader
	cfg  *Config
	node *replica.Node
	log  *slog.Logger

	feeds    *feed.Feeds
	spans    *spans.Spans
	second   *recheck.Reader
	dispatch *dispatch.Duty
	results  *results.Duty
	members  *members.Duty
	room     *machines.Duty
	bindings *bindings.Duty
	names    *names.Duty
	watchers *watchers.Duty

	stopWriting context.CancelFunc
}

// shared is what several duties of a leader are made with.
type shared struct {
	feeds   *feed.Feeds
	spans   *spans.Spans
	second  *recheck.Reader
	index   *results.Index
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
		members.Kind(members.Options{Node: s.node, Self: c.self(), Alone: c.Cluster == nil, RemoveDead: removeDead}),
		progress.Kind(s.feeds, c.Bus, subjects),
		dispatch.Kind(dispatch.Options{Node: c.NodeID, Bus: c.Bus, Subjects: subjects, Spans: s.spans, Second: s.second, Leased: c.Leased}),
		results.Kind(results.Options{Index: s.index, Feeds: s.feeds, Spans: s.spans, Second: s.second, Writing: s.writing}),
		machines.Kind(),
		bindings.Kind(),
		forget.Kind(),
		names.Kind(c.DNSKeys, c.dns),
		watchers.Kind(c.ClientPatience),
	}
}

// lead takes up leadership: the log so far is applied when it returns, and builders are listened to.
func (c *Coordinator) lead() (*leader, error) {
	writing, stop := context.WithCancel(context.Background())
	s := shared{feeds: feed.New(), spans: spans.New(), second: c.second, index: c.index, node: c.node, writing: writing}
	core, err := lead.Take(lead.Options{
		Node: c.node, FSM: c.fsm, Store: c.cfg.Store, Blobs: c.cfg.Blobs, Now: c.cfg.Now, Log: c.cfg.Log, Duties: c.cfg.duties(s), Anew: c.anew,
	})
	if err != nil {
		stop()
		return nil, err
	}
	return &leader{
		Leader: core, cfg: &c.cfg, node: c.node, log: c.cfg.Log, feeds: s.feeds, spans: s.spans, second: c.second, stopWriting: stop,
		dispatch: lead.Of[*dispatch.Duty](core), results: lead.Of[*results.Duty](core), members: lead.Of[*members.Duty](core), room: lead.Of[*machines.Duty](core),
		bindings: lead.Of[*bindings.Duty](core), names: lead.Of[*names.Duty](core), watchers: lead.Of[*watchers.Duty](core),
	}, nil
}

// close gives leadership's duties up and waits until that is done. For a grace records are still written.
func (l *leader) close(grace time.Duration) {
	defer time.AfterFunc(grace, l.stopWriting).Stop()
	defer l.stopWriting()
	l.Close()
}
