package machines

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/fleet/boots"
	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	recentBoots = 20_000 // events of all machines that the leader holds
	machineBoot = 500    // events of one machine that the cache holds
)

// bootsEvery is how often what machines did is written to the cache.
const bootsEvery = time.Second

// bootsLast is how long that may take when leadership ends.
const bootsLast = time.Second

// Kind is the duty.
func Kind() duty.Kind {
	return duty.Kind{
		Name: "machines", Does: "tells edges what machines are to boot, and keeps what machines did",
		Hears:    []state.ChangeKind{state.RoomChanged},
		Reads:    []state.Part{state.Machines},
		Proposes: []state.CommandKind{"room"},
		New: func(t duty.Tools) duty.Duty {
			return &Duty{Tools: t, dirty: map[string]bool{}, edges: map[string]edgeHere{}}
		},
	}
}

// Duty is what the leader knows of a room beside the state: who waits for changes, and what machines did lately. What it
// loses when leaders change is in the cache.
type Duty struct {
	duty.Tools
	duty.Passive

	mu     sync.Mutex // guards what follows
	more   chan struct{}
	events []*kilnv1.BootEvent
	first  uint64          // number of events[0]
	dirty  map[string]bool // machines with events that are not in the cache
	edges  map[string]edgeHere
	watch  boots.Watch
}

// edgeHere is an edge that watches the intent, over one connection or, while it changes, two.
type edgeHere struct {
	url   string
	url6  string // empty: not over IPv6
	count int
}

// Enter counts an edge in; leave counts it out.
func (h *Duty) Enter(name, url, url6 string) (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.edges[name] = edgeHere{url, url6, h.edges[name].count + 1}
	h.wake()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		e := h.edges[name]
		if e.count--; e.count > 0 {
			h.edges[name] = e
		} else {
			delete(h.edges, name)
		}
		h.wake()
	}
}

// Edges are the edges that watch now, in the order of their names.
func (h *Duty) Edges() []*kilnv1.EdgeAddress {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*kilnv1.EdgeAddress
	for name, e := range h.edges {
		all = append(all, &kilnv1.EdgeAddress{Name: name, Url: e.url, Url6: e.url6})
	}
	slices.SortFunc(all, func(a, b *kilnv1.EdgeAddress) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

// Wait returns a channel that is closed at the next change or event.
func (h *Duty) Wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.more == nil {
		h.more = make(chan struct{})
	}
	return h.more
}

// Changed implements duty.Duty.
func (h *Duty) Changed(*state.Machine, []state.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake()
}

// wake is called with mu held.
func (h *Duty) wake() {
	if h.more != nil {
		close(h.more)
		h.more = nil
	}
}

// Report takes what an edge tells of machines.
func (h *Duty) Report(events []*kilnv1.BootEvent) {
	h.add(events, h.Now().UnixMilli())
	for _, e := range events {
		bootEvents.Add(h.Context(), 1, meter.Label("stage", meter.Enum(e.GetStage().String(), "BOOT_STAGE_")))
	}
	h.begun(events)
}

// add takes events that came now, in ms since 1970.
func (h *Duty) add(events []*kilnv1.BootEvent, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, events...)
	h.watch.Add(events, now)
	if over := len(h.events) - recentBoots; over > 0 {
		h.events, h.first = slices.Clone(h.events[over:]), h.first+uint64(over)
	}
	for _, e := range events {
		h.dirty[boots.Machine(e)] = true
	}
	h.wake()
}

// Since returns the events from a number on, and the number of the next one.
func (h *Duty) Since(number uint64) ([]*kilnv1.BootEvent, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.first + uint64(len(h.events))
	if number >= next {
		return nil, next
	}
	return slices.Clone(h.events[max(number, h.first)-h.first:]), next
}

// takeDirty returns the machines whose events are to be written, with those events.
func (h *Duty) takeDirty() map[string][]*kilnv1.BootEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string][]*kilnv1.BootEvent{}
	for _, e := range h.events {
		if name := boots.Machine(e); h.dirty[name] {
			out[name] = append(out[name], e)
		}
	}
	clear(h.dirty)
	return out
}

// tellStopped adds an event for each boot that went no further.
func (h *Duty) tellStopped(now int64) {
	h.mu.Lock()
	stopped := h.watch.Stopped(now)
	h.mu.Unlock()
	if len(stopped) > 0 {
		h.add(stopped, now)
	}
}

// keepLater has a machine's events written the next time.
func (h *Duty) keepLater(machine string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dirty[machine] = true
}

// Run implements duty.Duty: it writes what machines did to the cache, a while after it came, so that a boot is a few writes.
// Whoever leads next finds it there: what came last is written at the end, as far as that takes no time.
func (h *Duty) Run(ctx context.Context) {
	defer h.measure()()
	ticker := time.NewTicker(bootsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), bootsLast)
			defer cancel()
			h.writeBoots(last)
			return
		}
		h.tellStopped(h.Now().UnixMilli())
		h.writeBoots(ctx)
	}
}

func (h *Duty) writeBoots(ctx context.Context) {
	for name, events := range h.takeDirty() {
		kept, err := h.Kept(ctx, name)
		if err == nil {
			all := &kilnv1.BootRecord{Events: boots.Latest(boots.Merge(kept, events), machineBoot)}
			err = record.Put(ctx, h.Store, cache.BootKey(name), all)
		}
		if err != nil {
			h.keepLater(name)
			h.Log.Warn("what a machine did could not be kept yet", "machine", name, "error", err)
		}
	}
}

// Kept are the events of a machine that are in the cache.
func (h *Duty) Kept(ctx context.Context, name string) ([]*kilnv1.BootEvent, error) {
	all := &kilnv1.BootRecord{}
	if err := record.Get(ctx, h.Store, cache.BootKey(name), all); err != nil && !errors.Is(err, cache.ErrNotFound) {
		return nil, err
	}
	return all.GetEvents(), nil
}

// begun forgets the releases that machines were to boot once, and have begun to.
func (h *Duty) begun(events []*kilnv1.BootEvent) {
	once := map[string]string{}
	for _, e := range events {
		if e.GetOnce() != "" {
			once[e.GetMachine()] = e.GetOnce()
		}
	}
	if len(once) == 0 {
		return
	}
	change := &kilnv1.RoomCommand{}
	h.View(func(m *state.Machine) {
		in := m.Intent()
		change.Base = in.GetRevision()
		for _, machine := range in.GetMachines() {
			if release := machine.GetBootOnce(); release != "" && once[machine.GetName()] == release {
				machine = proto.CloneOf(machine)
				machine.BootOnce = ""
				change.Machines = append(change.Machines, machine)
			}
		}
	})
	if len(change.Machines) > 0 {
		h.Tell(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: change}})
	}
}
