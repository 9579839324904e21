package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// slowFuture is a question to raft that is answered after a second.
type slowFuture struct{ err error }

func (f slowFuture) Error() error { time.Sleep(time.Second); return f.err }

// Those who come while a question is under way share the next one: the answer to that one may be older than they are.
func TestLeadershipIsVerifiedAfterEachQuestionCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, lost := 0, errors.New("lost")
		v := NewVerifier(func() raft.Future {
			asked++
			if asked > 1 {
				return slowFuture{lost}
			}
			return slowFuture{}
		})
		first := make(chan error)
		go func() { first <- v.Wait(t.Context()) }()
		synctest.Wait()
		later := make(chan error)
		for range 8 {
			go func() { later <- v.Wait(t.Context()) }()
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := v.Wait(impatient); err != context.DeadlineExceeded {
			t.Errorf("one that gives up: %v", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
		for range 8 {
			if err := <-later; err != lost {
				t.Errorf("one that came later: %v, want the second answer", err)
			}
		}
		if asked != 2 {
			t.Errorf("raft was asked %d times, want twice", asked)
		}
	})
}
