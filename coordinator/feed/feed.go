package feed

import (
	"context"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

const (
	ringBytes = 4 << 20 // of events of one build that a watcher may still ask for
	keptFeeds = 64      // ended builds whose events are kept
)

// feed is the events of one build, numbered from 1. The last ringBytes of them are kept: a watcher that is
// further behind gets what the build has come to instead.
type feed struct {
	mu    sync.Mutex // guards what follows
	ring  []*kilnv1.BuildEvent
	first uint64 // sequence of ring[0]
	size  int
	ended bool
	more  chan struct{} // closed when there is something new
}

func newFeed() *feed { return &feed{first: 1, more: make(chan struct{})} }

// Add appends an event; its sequence and time are set here.
func (f *feed) Add(events ...*kilnv1.BuildEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		e.Sequence = f.first + uint64(len(f.ring))
		e.UnixMs = time.Now().UnixMilli()
		f.ring = append(f.ring, e)
		f.size += proto.Size(e)
		if s := e.GetState(); s != nil && s.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE {
			f.ended = true
		}
	}
	for f.size > ringBytes && len(f.ring) > 1 {
		f.size -= proto.Size(f.ring[0])
		f.ring[0] = nil
		f.ring = f.ring[1:]
		f.first++
	}
	close(f.more)
	f.more = make(chan struct{})
}

// after returns the events after a sequence; ok is false when some of them are not kept, or never were. When
// there is none yet, more is closed once there is.
func (f *feed) after(sequence uint64) (events []*kilnv1.BuildEvent, ended, ok bool, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.first + uint64(len(f.ring))
	if sequence+1 < f.first || sequence+1 > next {
		return nil, f.ended, false, nil
	}
	return f.ring[sequence+1-f.first:], f.ended, true, f.more
}

func (f *feed) last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first + uint64(len(f.ring)) - 1
}

// Feeds are the feeds of the builds that a leader works on, and of a few that have ended.
type Feeds struct {
	mu    sync.Mutex // guards what follows
	feeds map[string]*feed
	old   []string // ended builds, oldest first
}

func New() *Feeds { return &Feeds{feeds: map[string]*feed{}} }

// Of returns the feed of a build; nil when there is none.
func (s *Feeds) Of(build string) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds[build]
}

// Start returns the feed of a build, a new one when there is none.
func (s *Feeds) Start(build string) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[build]
	if f == nil {
		f = newFeed()
		s.feeds[build] = f
	}
	return f
}

// End lets the feed of an ended build go, after a while.
func (s *Feeds) End(build string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old = append(s.old, build)
	if len(s.old) > keptFeeds {
		delete(s.feeds, s.old[0])
		s.old = s.old[1:]
	}
}

// Watch sends a build's events after a sequence until the build has ended. Whatever the feed has lost is replaced
// by what the build has come to, which summary tells; each watcher sees numbers without gaps either way.
func (f *feed) Watch(ctx context.Context, after uint64, summary func() []*kilnv1.BuildEvent, send func(*kilnv1.BuildEvent) error) error {
	position, shift := after, uint64(0)
	for {
		events, ended, ok, more := f.after(position)
		if !ok {
			base := position + shift
			position = f.last()
			for i, e := range summary() {
				e.Sequence = base + uint64(i) + 1
				if err := send(e); err != nil {
					return err
				}
				shift = e.Sequence - position // may wrap: only the sum with position counts
			}
			continue
		}
		for _, e := range events {
			position = e.Sequence
			if shift != 0 {
				e = proto.Clone(e).(*kilnv1.BuildEvent)
				e.Sequence += shift
			}
			if err := send(e); err != nil {
				return err
			}
		}
		if ended && len(events) == 0 {
			return nil
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
