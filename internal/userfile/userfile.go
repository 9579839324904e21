package userfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// ErrNotRegular is wrapped by every refusal of what is no regular file.
var ErrNotRegular = errors.New("not a regular file")

// kindError is a file of a kind that is not read. Its text stands behind the name of the file.
type kindError string

func (e kindError) Error() string { return string(e) }
func (e kindError) Unwrap() error { return ErrNotRegular }

// Check says why a file of that mode is not read; nil for a regular one.
func Check(mode fs.FileMode) error {
	const remedy = ", and only regular files are read; name a file with its contents"
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return kindError("it is a directory")
	case mode&fs.ModeSymlink != 0:
		return kindError("it is a symbolic link")
	case mode&fs.ModeNamedPipe != 0:
		return kindError("it is a named pipe" + remedy)
	case mode&fs.ModeSocket != 0:
		return kindError("it is a socket" + remedy)
	case mode&fs.ModeDevice != 0:
		return kindError("it is a device" + remedy)
	}
	return kindError("it is a special file" + remedy)
}

// Open opens a regular file. It never waits: neither for a writer nor for a device. Errors are *fs.PathError.
func Open(path string) (*os.File, error) {
	return open(path, 0)
}

// OpenNoFollow is Open for a name that must not be a symbolic link.
func OpenNoFollow(path string) (*os.File, error) {
	return open(path, syscall.O_NOFOLLOW)
}

func open(path string, flags int) (*os.File, error) {
	stat := os.Stat
	if flags&syscall.O_NOFOLLOW != 0 {
		stat = os.Lstat
	}
	info, err := stat(path)
	if err != nil {
		return nil, err
	}
	if err := Check(info.Mode()); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil { // it may be another one by now
		if err = Check(info.Mode()); err != nil {
			err = &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// handedOver are the names under which a process finds what its parent opened for it.
var handedOver = regexp.MustCompile(`^/(dev/(stdin|fd/[0-9]+)|proc/(self|[0-9]+)/fd/[0-9]+)$`)

// OpenStream opens what is read once, from beginning to end: a regular file, or a descriptor that a shell handed over.
// Reads end with ctx.
func OpenStream(ctx context.Context, path string) (io.ReadCloser, error) {
	if !handedOver.MatchString(filepath.Clean(path)) {
		f, err := Open(path)
		if err != nil {
			return nil, err
		}
		return &regular{f, ctx}, nil
	}
	// Linux opens what is behind the name anew: a named pipe whose writer is gone would be waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: path, Err: Check(info.Mode())}, f.Close())
	}
	return &handed{Interruptible(ctx, f), f}, nil
}

// regular is a file that is read until its context ends.
type regular struct {
	*os.File
	ctx context.Context
}

func (r *regular) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.File.Read(p)
}

// ReadFile reads the whole of a regular file; more than most bytes are an error.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, most)
}

// handed is an open descriptor of another process's.
type handed struct {
	io.ReadCloser
	file *os.File
}

// Close implements io.Closer.
func (h *handed) Close() error { return errors.Join(h.ReadCloser.Close(), h.file.Close()) }

// Read reads the whole of what OpenStream opens; more than most bytes are an error.
func Read(ctx context.Context, path string, most int64) ([]byte, error) {
	r, err := OpenStream(ctx, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readAll(r, path, most)
}

func readAll(r io.Reader, path string, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is larger than %s, so it is not the file that is meant", size(most))}
	}
	return data, nil
}

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// FS is os.DirFS of which only regular files and directories are opened.
func FS(dir string) fs.FS { return dirFS{os.DirFS(dir), dir} }

type dirFS struct {
	fs.FS
	dir string
}

// Open implements fs.FS.
func (d dirFS) Open(name string) (fs.File, error) {
	info, err := fs.Stat(d.FS, name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return d.FS.Open(name)
	}
	return Open(filepath.Join(d.dir, filepath.FromSlash(name)))
}
