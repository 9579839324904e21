package fair

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestManyGoroutinesGetTheirTurns(t *testing.T) {
	q := New(Config{Bytes: 64 << 10, Least: 32 << 10, Most: 32 << 10})
	var group sync.WaitGroup
	for n := range 50 {
		group.Go(func() {
			x, err := q.Enter(fmt.Sprint(n%7), "")
			if err != nil {
				t.Error(err)
				return
			}
			defer x.Leave()
			for range 100 {
				got, err := x.Turn(t.Context(), 10_000, nil)
				if err != nil || got != 10_000 {
					t.Errorf("got a turn of %d bytes, %v", got, err)
					return
				}
				if x.End(got) {
					x.Landed()
				}
			}
		})
	}
	group.Wait()
	if c := q.Counts(); c.Turns != 5000 || c.Transfers != 0 || c.Waiting != 0 {
		t.Errorf("counted %+v, want 5000 turns and nobody", c)
	}
}

func TestATurnThatDoesNotEndStopsNobody(t *testing.T) {
	q := New(Config{Bytes: 1, Patience: 20 * time.Millisecond})
	stuck, _ := q.Enter("stuck", "")
	if _, err := stuck.Turn(t.Context(), 1<<20, nil); err != nil {
		t.Fatal(err)
	}
	other, _ := q.Enter("other", "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := other.Turn(ctx, 1<<20, nil); err != nil {
		t.Fatalf("who comes behind a turn that does not end waits for ever: %v", err)
	}
	if other.Waited() < 10*time.Millisecond || q.Counts().SlowTurns != 1 {
		t.Errorf("waited %v, and %d turns were slow; want 20ms and 1", other.Waited(), q.Counts().SlowTurns)
	}
}

func TestWhoLeavesWhileItWaitsLeavesNothingBehind(t *testing.T) {
	q := New(Config{Bytes: 1, Patience: time.Hour})
	first, _ := q.Enter("first", "")
	if _, err := first.Turn(t.Context(), 100, nil); err != nil {
		t.Fatal(err)
	}
	second, _ := q.Enter("second", "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := second.Turn(ctx, 100, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want that its time is over", err)
	}
	second.Leave()
	first.End(100)
	if _, err := first.Turn(t.Context(), 100, nil); err != nil {
		t.Fatal(err)
	}
	first.Leave()
	if c := q.Counts(); c.Transfers+c.Waiting+c.Clients != 0 {
		t.Errorf("there is left %+v", c)
	}
}
