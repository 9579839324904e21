package progress

import (
	"context"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/feed"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/nats-io/nats.go"
)

var buildsEnded = meter.Of("coordinator").Counter("kiln.build.ended", "{build}", "Builds that ended, by their last state")

// Kind is the duty. Feeds are what it fills.
func Kind(feeds *feed.Feeds, nc *nats.Conn, subjects bus.Subjects) duty.Kind {
	return duty.Kind{
		Name: "progress", Does: "tells watchers of builds what happens to them",
		Hears: []state.ChangeKind{state.BuildChanged, state.NodeRunning, state.NodeDone, state.NodeRetry, state.NodeFailed},
		Reads: []state.Part{state.Builds},
		New:   func(t duty.Tools) duty.Duty { return &progress{Tools: t, feeds: feeds, bus: nc, subjects: subjects} },
	}
}

// progress makes events of changes and of what steps say.
type progress struct {
	duty.Tools
	duty.Passive
	feeds    *feed.Feeds
	bus      *nats.Conn
	subjects bus.Subjects
}

// Begin implements duty.Duty.
func (l *progress) Begin(m *state.Machine) {
	for _, b := range m.Builds() {
		l.feeds.Start(b.Spec.GetId()).Add(feed.SummaryOf(m, b)...)
	}
}

// Changed implements duty.Duty.
func (l *progress) Changed(m *state.Machine, changes []state.Change) {
	for _, c := range changes {
		b := m.Build(c.Build)
		switch {
		case b == nil:
		case c.Kind == state.BuildChanged:
			l.buildChanged(b)
		case c.Node >= state.GraphNode:
			l.feeds.Start(c.Build).Add(feed.NodeEvent(feed.ChangeEvent(b, c)))
		}
	}
}

func (l *progress) buildChanged(b *state.Build) {
	id := b.Spec.GetId()
	l.Log.Debug("build changed", "build", id, "state", b.State.String(), "error", b.Error)
	l.feeds.Start(id).Add(feed.StateEvent(b.State, b.Error, b.Outputs))
	if b.Ended() {
		buildsEnded.Add(l.Context(), 1, meter.Label("state", meter.Enum(b.State.String(), "BUILD_STATE_")))
		l.feeds.End(id)
	}
}

// Listen implements duty.Listener.
func (l *progress) Listen() ([]*bus.Service, error) {
	s, err := bus.Subscribe(l.bus, l.subjects.AllLogs(), l.logged)
	return []*bus.Service{s}, err
}

// logged gives a step's lines to all builds that wait for it.
func (l *progress) logged(ctx context.Context, chunk *kilnv1.LogChunk) {
	l.View(func(m *state.Machine) {
		t := m.Task(chunk.GetTask())
		if t == nil || t.Lease != 0 && (t.Lease != chunk.GetNumber() || t.Builder != bus.Sender(ctx)) {
			return
		}
		for _, w := range t.Waiters {
			l.feeds.Start(w.Build).Add(feed.LogEvent(w.Node, chunk.GetLines()))
		}
	})
}
