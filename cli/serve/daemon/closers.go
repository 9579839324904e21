package daemon

import (
	"context"
	"errors"
	"slices"
)

// Closers are what a long-lived process closes at its end, the last opened first.
type Closers struct{ list []func() error }

func (c *Closers) Add(f func() error) { c.list = append(c.list, f) }

// Run runs f beside the rest until the end, which is not yet when ctx ends: what drains still needs it.
func (c *Closers) Run(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	c.Add(func() error {
		cancel()
		<-done
		return nil
	})
}

func (c *Closers) Close() error {
	var errs []error
	for _, f := range slices.Backward(c.list) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
