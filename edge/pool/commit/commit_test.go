package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// picky is a farm that takes no call with a bad command in it.
type picky struct{ calls int }

func (p *picky) Bind(_ context.Context, commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) {
	time.Sleep(10 * time.Millisecond)
	p.calls++
	out := make([]*kilnv1.BindResult, len(commands))
	for i, c := range commands {
		if c.GetAddress() == "" {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("no address"))
		}
		out[i] = &kilnv1.BindResult{Address: c.GetAddress()}
	}
	return out, nil
}

func TestAFarmThatRefusesOneCommandServesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		c := New(&picky{}, func() time.Duration { return time.Since(begun) }, slog.New(slog.DiscardHandler))
		errs := make([]error, 9)
		var all sync.WaitGroup
		for i := range errs {
			command := &kilnv1.BindCommand{Address: fmt.Sprintf("10.1.0.1%d", i)}
			if i == 4 {
				command.Address = ""
			}
			all.Go(func() {
				result, err := c.Bind(t.Context(), fmt.Sprint(i), command)
				if errs[i] = err; err == nil && result.GetAddress() != command.GetAddress() {
					t.Errorf("command %d has the result of another: %v", i, result)
				}
			})
		}
		all.Wait()
		for i, err := range errs {
			if errors.Is(err, ErrFaulty) != (i == 4) || err != nil && i != 4 {
				t.Errorf("command %d: got %v", i, err)
			}
		}
		if c.IsAway() {
			t.Error("the farm counts as away")
		}
		c.Wait()
	})
}

func TestTheSameKeyIsTheSameCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, farm := time.Now(), &picky{}
		c := New(farm, func() time.Duration { return time.Since(begun) }, slog.New(slog.DiscardHandler))
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := c.Bind(t.Context(), "one", &kilnv1.BindCommand{Address: "10.1.0.1"}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		c.Wait()
		if farm.calls != 1 {
			t.Errorf("got %d calls, want 1", farm.calls)
		}
	})
}
