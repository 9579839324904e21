package retry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errBusy = errors.New("busy")

// failing fails n times and notes when it was called.
func failing(n int, err error) (op func(context.Context) error, calls func() []time.Duration) {
	begun, at := time.Now(), []time.Duration(nil)
	return func(context.Context) error {
		at = append(at, time.Since(begun))
		if len(at) <= n {
			return err
		}
		return nil
	}, func() []time.Duration { return at }
}

func ms(n ...time.Duration) (out []time.Duration) {
	for _, d := range n {
		out = append(out, d*time.Millisecond)
	}
	return out
}

func TestWhenATryIsMade(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy Policy
		fails  int
		err    error
		want   error
		gaveUp bool
		at     []time.Duration
	}{
		{"what goes well is done once", Policy{First: time.Second}, 0, nil, nil, false, ms(0)},
		{"waits double up to the longest", Policy{First: 10 * time.Millisecond, Most: 30 * time.Millisecond}, 4, errBusy, nil, false, ms(0, 10, 30, 60, 90)},
		{"without a longest one all waits are the same", Policy{First: 10 * time.Millisecond}, 3, errBusy, nil, false, ms(0, 10, 20, 30)},
		{"a permanent error ends it, without its mark", Policy{First: time.Millisecond}, 1, Permanent(errBusy), errBusy, false, ms(0)},
		{"so many tries", Policy{First: time.Millisecond, Most: time.Second, Tries: 3}, 9, errBusy, errBusy, true, ms(0, 1, 3)},
		{"no try begins after the end", Policy{First: 10 * time.Millisecond, Most: time.Second, Within: 40 * time.Millisecond}, 9, errBusy, errBusy, true, ms(0, 10, 30)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				op, calls := failing(tt.fails, tt.err)
				told := 0
				err := tt.policy.Do(t.Context(), op, func(error, time.Duration) { told++ })
				var gaveUp *GaveUpError
				if !errors.Is(err, tt.want) || err != nil && err.Error() != tt.want.Error() || errors.As(err, &gaveUp) != tt.gaveUp {
					t.Errorf("got %#v, want %v (given up: %v)", err, tt.want, tt.gaveUp)
				}
				if got := calls(); !slices.Equal(got, tt.at) || told != len(got)-1 {
					t.Errorf("tried at %v, want %v; told of %d failures", got, tt.at, told)
				}
			})
		})
	}
}

func TestJitterSpreadsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		err := Policy{First: time.Second, Jitter: 0.5, Tries: 200}.Do(t.Context(), func(context.Context) error { return errBusy },
			func(_ error, wait time.Duration) {
				seen[wait] = true
				if wait < time.Second/2 || wait > 3*time.Second/2 {
					t.Errorf("waits %v", wait)
				}
			})
		if !errors.Is(err, errBusy) || len(seen) < 100 {
			t.Errorf("%v, %d different waits of 199", err, len(seen))
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := (Policy{First: time.Hour}).Do(ctx, func(context.Context) error { return errBusy }, nil); err != context.DeadlineExceeded {
			t.Errorf("Do: got %v", err)
		}
		if Sleep(ctx, time.Hour) || Sleep(ctx, 0) || (Policy{First: time.Hour}).Waits().Sleep(ctx) {
			t.Error("a sleep goes on after its context has ended")
		}
		if d := time.Since(begun); d != time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestACanceledTryIsToldAsThat(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Policy{First: time.Hour}.Do(ctx, func(context.Context) error {
		cancel()
		return Permanent(errBusy)
	}, nil)
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestWaitsBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		w := Policy{First: 10 * time.Millisecond, Most: time.Second, Tries: 4}.Waits()
		for w.Sleep(t.Context()) {
			at = append(at, time.Since(begun))
			if len(at) == 2 {
				w.Reset()
			}
		}
		if want := ms(10, 30, 40, 60, 100); !slices.Equal(at, want) {
			t.Errorf("woke at %v, want %v", at, want)
		}
		if (Policy{First: time.Hour, Within: time.Second}).Waits().Sleep(t.Context()) {
			t.Error("it slept beyond its policy's end")
		}
	})
}
