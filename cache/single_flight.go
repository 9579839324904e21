package cache

import (
	"context"
	"sync"
)

// SingleFlight wraps Blobs whose Open may be long, because it fetches or hashes: of those who open one blob at the
// same time the first does the work, and the others find it done. When the first fails or gives up, the next one
// tries. Put it outermost.
type SingleFlight struct {
	Blobs
	flights flights
}

// NewSingleFlight wraps b.
func NewSingleFlight(b Blobs) *SingleFlight { return &SingleFlight{Blobs: b} }

// Open implements Blobs.
func (s *SingleFlight) Open(ctx context.Context, d Digest) (*File, error) {
	done, err := s.flights.begin(ctx, d)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.Blobs.Open(ctx, d)
}

// flights lets one caller at a time work on a digest.
type flights struct {
	mu   sync.Mutex
	busy map[Digest]chan struct{}
}

// begin waits until nobody else works on d. The caller calls done when its work is.
func (f *flights) begin(ctx context.Context, d Digest) (done func(), err error) {
	for {
		f.mu.Lock()
		other, taken := f.busy[d]
		if !taken {
			if f.busy == nil {
				f.busy = map[Digest]chan struct{}{}
			}
			mine := make(chan struct{})
			f.busy[d] = mine
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				delete(f.busy, d)
				f.mu.Unlock()
				close(mine)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
