package userfile

import (
	"context"
	"io"
	"sync"
)

// Interruptible is r with reads that end with ctx, although those of r may wait for ever, as of a terminal or a pipe. It
// reads ahead of its caller by one buffer. Close lets go of r and leaves it open. Whoever waits for r in its stead stays until r gives
// something: this is for what a process reads in its last moments or at its end.
func Interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	i := &interruptible{ctx: ctx, from: r}
	i.out, i.in = io.Pipe()
	return i
}

type interruptible struct {
	ctx  context.Context
	from io.Reader
	once sync.Once
	stop func() bool
	out  *io.PipeReader
	in   *io.PipeWriter
}

// Read implements io.Reader.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	i.once.Do(func() {
		i.stop = context.AfterFunc(i.ctx, func() { i.in.CloseWithError(i.ctx.Err()) })
		go func() {
			_, err := io.Copy(i.in, i.from)
			i.in.CloseWithError(err)
		}()
	})
	return i.out.Read(p)
}

// Close implements io.Closer.
func (i *interruptible) Close() error {
	i.once.Do(func() {})
	if i.stop != nil {
		i.stop()
	}
	return i.out.Close()
}
