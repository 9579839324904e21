package outfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// File is a whole file that waits beside its place for its name.
type File struct{ temp, Path string }

// Stage writes what fill writes to a file beside path. Devices and pipes are written to as they are.
func Stage(ctx context.Context, path string, fill func(io.Writer) error) (*File, error) {
	info, statErr := os.Stat(path)
	if statErr == nil && info.IsDir() {
		return nil, errors.New("there is a directory of that name")
	}
	if statErr == nil && !info.Mode().IsRegular() {
		w, err := userfile.Output(ctx, path)
		if err != nil {
			return nil, userfile.Cause(err)
		}
		return &File{Path: path}, errors.Join(Stream(w, fill), w.Close())
	}
	dir, base := filepath.Split(path)
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, DiskError(dir, err)
		}
	}
	// The file's mode is what the umask leaves, as with LinuxKit and any other tool.
	f := &File{fmt.Sprintf("%s.%s.%d.tmp", dir, base, os.Getpid()), path}
	w, err := os.OpenFile(f.temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, DiskError(dir, err)
	}
	sparse := &sparseFile{File: w}
	if err = fill(sparse); err == nil {
		err = sparse.finish()
	}
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		f.Abort()
		return nil, DiskError(dir, err)
	}
	return f, nil
}

// Commit gives the file its name.
func (f *File) Commit() error {
	if f.temp == "" {
		return nil
	}
	if err := replace(f.temp, f.Path); err != nil {
		return DiskError(filepath.Dir(f.Path), err)
	}
	f.temp = ""
	return nil
}

// Abort removes the file; after commit it does nothing.
func (f *File) Abort() {
	if f.temp != "" {
		_ = os.Remove(f.temp) // the fault that led here is the one to tell
	}
}

// Write gives path what fill writes, whole or not at all.
func Write(ctx context.Context, path string, fill func(io.Writer) error) error {
	f, err := Stage(ctx, path, fill)
	if err != nil {
		return err
	}
	defer f.Abort()
	return f.Commit()
}

// DiskError makes a sentence of what the file system said.
func DiskError(dir string, err error) error {
	if dir == "" {
		dir = "."
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk of %s is full: free some space or choose another directory; nothing was left there", filepath.Clean(dir))
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("directory %s cannot be written to: %w; choose another one", filepath.Clean(dir), userfile.Cause(err))
	}
	return err
}

// Stream copies to a stream. What went out cannot be taken back, so that a fault after the first byte is final.
func Stream(w io.Writer, copyTo func(io.Writer) error) error {
	counter := &counter{Writer: w}
	if file, ok := w.(*os.File); ok {
		if at, err := file.Seek(0, io.SeekCurrent); err == nil { // a file, which the kernel can copy to
			err := copyTo(file)
			if now, seekErr := file.Seek(0, io.SeekCurrent); err != nil && (seekErr != nil || now > at) {
				return final(err)
			}
			return err
		}
	}
	err := copyTo(counter)
	if err != nil && counter.n > 0 {
		return final(err)
	}
	return err
}

// final hides from the caller that trying again might help.
func final(err error) error { return fmt.Errorf("the output is cut short: %s", err) }

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}
