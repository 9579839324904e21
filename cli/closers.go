package cli

import (
	"context"
	"errors"
	"slices"
)

// closers are what a long-lived process closes at its end, the last opened first.
type closers struct{ list []func() error }

func (c *closers) add(f func() error) { c.list = append(c.list, f) }

// run runs f beside the rest until the end, which is not yet when ctx ends: what drains still needs it.
func (c *closers) run(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	c.add(func() error {
		cancel()
		<-done
		return nil
	})
}

func (c *closers) close() error {
	var errs []error
	for _, f := range slices.Backward(c.list) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
