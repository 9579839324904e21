package tftp

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// holdMost is how long a window that is on its way keeps other transfers of the same client from sending theirs. A client that
// answers does so long before, also over a line that is full; of one that does not, the others wait no longer than this.
const holdMost = 250 * time.Millisecond

// share is what the transfers of one address share: while there are other clients, one window is on its way at a time. Blocks are
// sent as fast as they are acknowledged, so that whoever has many transfers would otherwise have many parts of a line, or of a
// processor, that is full.
type share struct {
	transfers atomic.Int32
	clients   *atomic.Int32 // of the server

	mu      sync.Mutex // guards what follows
	turn    uint64     // of whom a window is on its way, or was
	held    bool       // it is
	since   time.Time
	waiting []chan uint64 // who is next gets its turn
}

func newShare(clients *atomic.Int32) *share { return &share{clients: clients} }

// enter waits until a window may be sent. What it returns is for leave, when the window was answered.
func (s *share) enter() (turn uint64) {
	if s == nil || s.transfers.Load() < 2 || s.clients.Load() < 2 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		return s.begin()
	}
	mine := make(chan uint64, 1)
	s.waiting = append(s.waiting, mine)
	for {
		left := time.Until(s.since.Add(holdMost))
		if left <= 0 && s.waiting[0] == mine { // whoever is before waits for its client
			s.waiting = s.waiting[1:]
			return s.begin()
		}
		s.mu.Unlock()
		timer := time.NewTimer(max(left, time.Millisecond))
		select {
		case turn = <-mine:
		case <-timer.C:
		}
		timer.Stop()
		s.mu.Lock()
		if turn == 0 && !slices.Contains(s.waiting, mine) {
			turn = <-mine // in this moment
		}
		if turn != 0 {
			return turn
		}
	}
}

func (s *share) begin() uint64 {
	s.turn++
	s.held, s.since = true, time.Now()
	return s.turn
}

// leave gives the turn to who is next.
func (s *share) leave(turn uint64) {
	if turn == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn != turn {
		return // it took too long
	}
	if s.held = len(s.waiting) > 0; s.held {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		next <- s.begin()
	}
}
