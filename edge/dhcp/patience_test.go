package dhcp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLazyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name   string
			parent time.Duration // after which the parent is canceled; 0: never
			end    time.Duration // after which end is called; 0: never
			before bool          // somebody waits from the beginning on
			want   error
			after  time.Duration
		}{
			{"time runs out", 0, 0, true, context.DeadlineExceeded, time.Second},
			{"time has run out", 0, 0, false, context.DeadlineExceeded, time.Second},
			{"its parent ends", 100 * time.Millisecond, 0, true, context.Canceled, 100 * time.Millisecond},
			{"it ends", 0, 200 * time.Millisecond, true, context.Canceled, 200 * time.Millisecond},
			{"it has ended", 0, 200 * time.Millisecond, false, context.Canceled, 200 * time.Millisecond},
		} {
			begun := time.Now()
			parent, cancel := context.WithCancel(t.Context())
			ctx := withLazyDeadline(parent, begun.Add(time.Second))
			if at, ok := ctx.Deadline(); !ok || at.Sub(begun) != time.Second {
				t.Errorf("%s: deadline in %s, %v; want 1s", c.name, at.Sub(begun), ok)
			}
			if c.parent > 0 {
				time.AfterFunc(c.parent, cancel)
			}
			if c.end > 0 {
				time.AfterFunc(c.end, ctx.end)
			}
			if c.before && ctx.Err() != nil {
				t.Errorf("%s: %v at once", c.name, ctx.Err())
			}
			if !c.before {
				time.Sleep(c.after)
			}
			<-ctx.Done()
			if took := time.Since(begun); took != c.after || !errors.Is(ctx.Err(), c.want) {
				t.Errorf("%s: %v after %s; want %v after %s", c.name, ctx.Err(), took, c.want, c.after)
			}
			ctx.end()
			cancel()
		}
	})
}
