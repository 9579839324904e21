package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// leastProgress is what must arrive within Config.Stall, in bytes, unless the answer ends. A registry that sends a byte now and then would
// hold its reader for ever.
const leastProgress = 16 << 10

// StallError says that an answer did not go on.
type StallError struct {
	Host string
	For  time.Duration
}

func (e *StallError) Error() string {
	return fmt.Sprintf("%s has sent nothing, or next to nothing, for %s", e.Host, seconds(e.For))
}

// stalls ends answers that do not go on, and their connections: over HTTP/2 the next request would take the same one. Only waiting for the registry counts, not what the reader does between two reads.
type stalls struct {
	next *hosts
	most time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s *stalls) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	res, err := s.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	b := &watched{ReadCloser: res.Body, ctx: ctx, cancel: cancel, most: s.most, host: req.URL.Host, left: s.most,
		drop: s.next.CloseIdleConnections}
	b.timer = time.AfterFunc(time.Hour, b.expired)
	b.timer.Stop()
	res.Body = b
	return res, nil
}

// watched is a body with a clock that runs while it is read.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	most   time.Duration
	host   string
	drop   func() // connections that nobody uses

	mu      sync.Mutex
	timer   *time.Timer
	reading bool
	since   time.Time     // when the read began that goes on now
	left    time.Duration // of the current span
	came    int           // bytes of the current span
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	w.reading, w.since = true, time.Now()
	w.timer.Reset(w.left)
	w.mu.Unlock()
	n, err := w.ReadCloser.Read(p)
	w.mu.Lock()
	w.reading = false
	w.timer.Stop()
	w.came += n
	if w.left -= time.Since(w.since); w.left <= 0 {
		w.left = 1 // the next read ends the span
	}
	if w.came >= leastProgress {
		w.came, w.left = 0, w.most
	}
	w.mu.Unlock()
	var stall *StallError
	if err != nil && errors.As(context.Cause(w.ctx), &stall) {
		err = stall
	}
	return n, err
}

// expired ends the answer: a whole span was waited, and too little came.
func (w *watched) expired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reading {
		w.cancel(&StallError{w.host, w.most})
	}
}

// Close implements io.Closer.
func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	var stall *StallError
	if errors.As(context.Cause(w.ctx), &stall) {
		w.drop()
	}
	w.cancel(nil)
	return err
}
