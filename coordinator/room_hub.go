package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/coordinator/boots"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	recentBoots = 20_000 // events of all machines that the leader holds
	machineBoot = 500    // events of one machine that the cache holds
)

// roomHub is what the leader knows of a room beside the state: who waits for changes, and what machines did lately. What it
// loses when leaders change is in the cache.
type roomHub struct {
	once sync.Once // starts what writes to the cache

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

// enter counts an edge in; leave counts it out.
func (h *roomHub) enter(name, url, url6 string) (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.edges == nil {
		h.edges = map[string]edgeHere{}
	}
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

// edgesHere are the edges that watch now, in the order of their names.
func (h *roomHub) edgesHere() []*kilnv1.EdgeAddress {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*kilnv1.EdgeAddress
	for name, e := range h.edges {
		all = append(all, &kilnv1.EdgeAddress{Name: name, Url: e.url, Url6: e.url6})
	}
	slices.SortFunc(all, func(a, b *kilnv1.EdgeAddress) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

// wait returns a channel that is closed at the next change or event.
func (h *roomHub) wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.more == nil {
		h.more = make(chan struct{})
	}
	return h.more
}

func (h *roomHub) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake()
}

// wake is called with mu held.
func (h *roomHub) wake() {
	if h.more != nil {
		close(h.more)
		h.more = nil
	}
}

// add takes events that came now, in ms since 1970.
func (h *roomHub) add(events []*kilnv1.BootEvent, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dirty == nil {
		h.dirty = map[string]bool{}
	}
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

// since returns the events from a number on, and the number of the next one.
func (h *roomHub) since(number uint64) ([]*kilnv1.BootEvent, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.first + uint64(len(h.events))
	if number >= next {
		return nil, next
	}
	return slices.Clone(h.events[max(number, h.first)-h.first:]), next
}

// takeDirty returns the machines whose events are to be written, with those events.
func (h *roomHub) takeDirty() map[string][]*kilnv1.BootEvent {
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
func (h *roomHub) tellStopped(now int64) {
	h.mu.Lock()
	stopped := h.watch.Stopped(now)
	h.mu.Unlock()
	if len(stopped) > 0 {
		h.add(stopped, now)
	}
}

// keepLater has a machine's events written the next time.
func (h *roomHub) keepLater(machine string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dirty[machine] = true
}

// keepBoots writes what machines did to the cache, a while after it came, so that a boot is a few writes. Whoever leads next
// finds it there: what came last is written at the end, as far as that takes no time.
func (l *leader) keepBoots() {
	ticker := time.NewTicker(bootsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), bootsLast)
			defer cancel()
			l.writeBoots(last)
			return
		}
		l.room.tellStopped(l.cfg.Now().UnixMilli())
		l.writeBoots(l.ctx)
	}
}

func (l *leader) writeBoots(ctx context.Context) {
	for name, events := range l.room.takeDirty() {
		kept, err := l.keptBoots(ctx, name)
		if err == nil {
			all := &kilnv1.BootRecord{Events: boots.Latest(boots.Merge(kept, events), machineBoot)}
			err = record.Put(ctx, l.cfg.Store, cache.BootKey(name), all)
		}
		if err != nil {
			l.room.keepLater(name)
			l.log.Warn("what a machine did could not be kept yet", "machine", name, "error", err)
		}
	}
}

// keptBoots are the events of a machine that are in the cache.
func (l *leader) keptBoots(ctx context.Context, name string) ([]*kilnv1.BootEvent, error) {
	all := &kilnv1.BootRecord{}
	if err := record.Get(ctx, l.cfg.Store, cache.BootKey(name), all); err != nil && !errors.Is(err, cache.ErrNotFound) {
		return nil, err
	}
	return all.GetEvents(), nil
}
