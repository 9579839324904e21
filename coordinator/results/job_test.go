package results

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"golang.org/x/sync/semaphore"
)

// leadership is one that commits nothing.
type leadership struct {
	duty.Leader
	ctx      context.Context
	proposed int
}

func (l *leadership) Context() context.Context { return l.ctx }
func (l *leadership) Spawn(f func())           { go f() }
func (l *leadership) Propose(context.Context, ...*kilnv1.Command) ([]state.Result, error) {
	l.proposed++
	return []state.Result{{}}, nil
}

func TestAJobWaitsNoLongerThanLeadershipLasts(t *testing.T) {
	for _, c := range []struct {
		name          string
		leads         time.Duration
		tries, failed int
		took          time.Duration
	}{
		{"leadership ends while it waits", 1500 * time.Millisecond, 2, 0, 1500 * time.Millisecond},
		{"leadership goes on", time.Hour, 10, 1, 9 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.leads)
				defer cancel()
				l := &leadership{ctx: ctx}
				d := &Duty{Tools: duty.Tools{Leader: l, Log: slog.New(slog.DiscardHandler)}, jobs: semaphore.NewWeighted(1)}
				begun, tries := time.Now(), 0
				d.job("build", func(context.Context, string) error {
					tries++
					return errors.Join(errUnread)
				})
				synctest.Wait()
				if err := d.jobs.Acquire(t.Context(), 1); err != nil { // when the job has ended
					t.Fatal(err)
				}
				if took := time.Since(begun); took != c.took || tries != c.tries || l.proposed != c.failed {
					t.Errorf("it took %s and %d tries, and proposed %d times; want %s, %d and %d", took, tries, l.proposed, c.took, c.tries, c.failed)
				}
			})
		})
	}
}
