// Package retry repeats what a moment may mend: one way to wait longer each time, with jitter, and to stop. It is a
// few lines over cenkalti/backoff, so that all parts of Kiln say in the same terms how long they try.
//
// It never decides whether an error is worth another try: the caller marks those that are not as Permanent.
package retry

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Policy says how long to wait between tries, and when to give up. Each wait is twice the one before it.
type Policy struct {
	First time.Duration // wait after the first try
	Most  time.Duration // longest wait; 0: all waits are First
	// Jitter spreads each wait evenly over wait×(1−Jitter) to wait×(1+Jitter), so that many do not try in step.
	Jitter float64
	Tries  int           // the first one included; 0: no limit
	Within time.Duration // since the first try, that another one may begin; 0: no limit
}

// GaveUpError is the error of the last try when the policy allows no other. Its text is that error's.
type GaveUpError struct{ Err error }

func (e *GaveUpError) Error() string { return e.Err.Error() }
func (e *GaveUpError) Unwrap() error { return e.Err }

// Permanent marks an error that no other try would mend; nil stays nil.
func Permanent(err error) error { return backoff.Permanent(err) }

// Do calls op until it returns nil, a Permanent error, which is returned without its mark, or the policy ends, which
// is a GaveUpError. When ctx ends, the error is that of ctx. Failed, unless nil, hears of each failure that is
// followed by a wait.
func (p Policy) Do(ctx context.Context, op func(context.Context) error, failed func(err error, wait time.Duration)) error {
	permanent := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := op(ctx)
		if err != nil && ctx.Err() != nil {
			err = Permanent(ctx.Err())
		}
		var mark *backoff.PermanentError
		permanent = errors.As(err, &mark)
		return struct{}{}, err
	}, backoff.WithBackOff(p.backOff()), backoff.WithMaxTries(uint(max(p.Tries, 0))),
		backoff.WithMaxElapsedTime(p.Within), backoff.WithNotify(failed))
	switch {
	case err == nil || permanent:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &GaveUpError{err}
}

func (p Policy) backOff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: p.First, MaxInterval: max(p.First, p.Most), Multiplier: 2, RandomizationFactor: p.Jitter}
}

// Waits are the pauses of a policy, for a loop that is more than one call: one that follows a stream, say, and begins
// anew with short waits once it has heard something. One goroutine at a time may use them.
type Waits struct {
	policy Policy
	next   *backoff.ExponentialBackOff
	tries  int
	begun  time.Time
}

// Waits begins with the first pause.
func (p Policy) Waits() *Waits {
	return &Waits{policy: p, next: p.backOff()}
}

// Sleep waits for the next try. It is false, at once, when the policy allows none, and when ctx ends.
func (w *Waits) Sleep(ctx context.Context) bool {
	if w.tries == 0 {
		w.begun = time.Now()
	}
	w.tries++
	if w.policy.Tries > 0 && w.tries >= w.policy.Tries {
		return false
	}
	wait := w.next.NextBackOff()
	if w.policy.Within > 0 && time.Since(w.begun)+wait > w.policy.Within {
		return false
	}
	return Sleep(ctx, wait)
}

// Reset makes the next pause the first one again, and the policy's limits count anew.
func (w *Waits) Reset() {
	w.tries = 0
	w.next.Reset()
}

// Sleep waits for d, or until ctx ends: false then.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
