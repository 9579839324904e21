// Package once does a piece of work once for all who ask for it at the same time. It is singleflight with contexts: who
// waits may give up, and when the one gives up by whose context the work goes, the next one does it.
//
// It never keeps a result: who comes when the work is done begins it again.
package once

import (
	"context"
	"errors"
	"sync/atomic"

	"golang.org/x/sync/singleflight"
)

// Group is a set of works, each under a key. The zero Group is ready.
type Group struct{ flights singleflight.Group }

// Do calls work, or waits for a call under the same key that is under way, and returns its error. Work must end when
// its context does: the one whose call it is waits for that.
func (g *Group) Do(ctx context.Context, key string, work func(context.Context) error) error {
	for {
		var ours atomic.Bool
		done := g.flights.DoChan(key, func() (any, error) {
			ours.Store(true)
			err := work(ctx)
			if err != nil && ctx.Err() != nil {
				err = &leftError{err}
			}
			return nil, err
		})
		var err error
		select {
		case r := <-done:
			err = r.Err
		case <-ctx.Done():
			if !ours.Load() {
				return ctx.Err()
			}
			err = (<-done).Err
		}
		var left *leftError
		switch {
		case !errors.As(err, &left):
			return err
		case ctx.Err() != nil:
			return left.err
		}
		// Whoever began the work was stopped; nobody has stopped us.
	}
}

// leftError: the context ended by which the work went.
type leftError struct{ err error }

func (e *leftError) Error() string { return e.err.Error() }
func (e *leftError) Unwrap() error { return e.err }
