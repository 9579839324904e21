package once

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errWork = errors.New("it did not work")

func TestThoseWhoAskAtOnceShareOneWork(t *testing.T) {
	for _, want := range []error{nil, errWork} {
		synctest.Test(t, func(t *testing.T) {
			var g Group
			calls := 0
			work := func(context.Context) error {
				calls++
				time.Sleep(time.Second)
				return want
			}
			got := make(chan error)
			for range 8 {
				go func() { got <- g.Do(t.Context(), "a", work) }()
			}
			for range 8 {
				if err := <-got; err != want {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if calls != 1 {
				t.Errorf("done %d times", calls)
			}
			if err := g.Do(t.Context(), "a", work); err != want || calls != 2 {
				t.Errorf("asked later: %v, done %d times", err, calls)
			}
		})
	}
}

func TestTheNextOneDoesTheWorkOfWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		first, stop := context.WithCancel(t.Context())
		ended := false
		begun, left := make(chan struct{}), make(chan error)
		go func() {
			left <- g.Do(first, "a", func(ctx context.Context) error {
				close(begun)
				<-ctx.Done()
				time.Sleep(time.Second) // to clean up
				ended = true
				return ctx.Err()
			})
		}()
		<-begun
		next := make(chan error)
		go func() { next <- g.Do(t.Context(), "a", func(context.Context) error { return errWork }) }()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Do(impatient, "a", nil); err != context.DeadlineExceeded {
			t.Errorf("a waiter that gives up: %v", err)
		}
		stop()
		if err := <-left; err != context.Canceled || !ended {
			t.Errorf("the first one: %v; its work had ended: %t", err, ended)
		}
		if err := <-next; err != errWork {
			t.Errorf("the next one: %v", err)
		}
	})
}

// A work's own time-out is its result, not a reason to begin again.
func TestTheWorksOwnTimeOutIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		calls, got := 0, make(chan error)
		for range 2 {
			go func() {
				got <- g.Do(t.Context(), "a", func(ctx context.Context) error {
					calls++
					ctx, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					<-ctx.Done()
					return ctx.Err()
				})
			}()
		}
		for range 2 {
			if err := <-got; err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		}
		if calls != 1 {
			t.Errorf("done %d times", calls)
		}
	})
}
