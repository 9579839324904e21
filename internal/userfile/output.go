package userfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// readerWait is how long a named pipe's reader may take to come.
	readerWait = 30 * time.Second
	// readerAsk is how often it is looked for: opening a pipe for writing tells, and nothing else does.
	readerAsk = 50 * time.Millisecond
)

// Output opens a named pipe or a device, which are written to as they are. It waits for a pipe's reader to come, for half a
// minute at most, and until ctx ends; so do writes.
func Output(ctx context.Context, path string) (io.WriteCloser, error) {
	f, err := openOutput(ctx, path, readerWait)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // a device may have none, and takes what comes
	return &output{f, ctx, stop}, nil
}

func openOutput(ctx context.Context, path string, wait time.Duration) (*os.File, error) {
	end := time.Now().Add(wait)
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, syscall.ENXIO) {
			return f, err
		}
		info, statErr := os.Stat(path)
		switch {
		case statErr == nil && info.Mode()&fs.ModeSocket != 0:
			return nil, &fs.PathError{Op: "open", Path: path, Err: kindError("it is a socket, which nothing can be written to by its name; name a file")}
		case statErr != nil || info.Mode()&fs.ModeNamedPipe == 0:
			return nil, err
		case time.Now().After(end):
			return nil, &fs.PathError{Op: "open", Path: path, Err: kindError("it is a named pipe that nobody reads; start its reader, or name a file")}
		}
		select {
		case <-time.After(readerAsk):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type output struct {
	*os.File
	ctx  context.Context
	stop func() bool
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.File.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = o.ctx.Err()
	}
	return n, err
}

// Close implements io.Closer.
func (o *output) Close() error {
	o.stop()
	return o.File.Close()
}
