package replica

import (
	"context"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/singleflight"
)

// Verifier asks raft whether this coordinator still leads, once for all who ask while it is being asked: each gets
// an answer to a question that was put after it came.
type Verifier struct {
	ask func() raft.Future

	next singleflight.Group // the question that is not put yet
	turn chan struct{}      // full while raft answers one
}

// NewVerifier asks by ask.
func NewVerifier(ask func() raft.Future) *Verifier {
	return &Verifier{ask: ask, turn: make(chan struct{}, 1)}
}

// Wait returns nil when this coordinator led at some time after the call.
func (v *Verifier) Wait(ctx context.Context) error {
	// Raft answers every question, by its end if not before.
	answer := v.next.DoChan("", func() (any, error) {
		v.turn <- struct{}{}
		defer func() { <-v.turn }()
		v.next.Forget("") // who comes from here on waits for the one after this
		return nil, v.ask().Error()
	})
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}
