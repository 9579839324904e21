package dhcp

import (
	"context"
	"sync"
)

// waiting are the DISCOVERs that are answered later. Most clients have chosen another edge's offer by then, of which all edges of a
// segment or behind a relay agent hear: what nobody waits for any more is neither decided nor sent.
type waiting struct {
	mu sync.Mutex // guards of
	of map[string]context.CancelFunc
}

// exchange names what a client's packets of one exchange have in common.
func (c Client) exchange() string { return string(c.xid[:]) + string(c.MAC) }

// add returns what ends with ctx or when the client has chosen another, and what ends the wait; false: the client has repeated itself,
// and waits already.
func (w *waiting) add(ctx context.Context, exchange string) (until context.Context, end func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[exchange] != nil {
		return nil, nil, false
	}
	if w.of == nil {
		w.of = map[string]context.CancelFunc{}
	}
	until, cancel := context.WithCancel(ctx)
	w.of[exchange] = cancel
	return until, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		cancel()
		delete(w.of, exchange)
	}, true
}

// chosen ends the wait of a client that has chosen another server.
func (w *waiting) chosen(exchange string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel := w.of[exchange]; cancel != nil {
		cancel()
	}
}
