package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/farm"
	"github.com/kiln-farm/kiln/cli/progress"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// files writes the outputs of a build, each whole or not at all.
type files struct {
	stdout  io.Writer
	targets []target
}

func newFiles(stdout io.Writer, o *buildOptions) *files { return &files{stdout, o.outputs} }

// toStdout is the path that means standard output.
const toStdout = "-"

// check finds out before the build whether its outputs can be written at all.
func (f *files) check() error {
	for _, t := range f.targets {
		if t.path == toStdout {
			continue
		}
		if info, err := os.Stat(t.path); err == nil && info.IsDir() {
			return usagef("output %s: there is a directory of that name", t.path)
		}
		if err := checkDir(filepath.Dir(t.path)); err != nil {
			return usagef("output %s: %w", t.path, err)
		}
	}
	return nil
}

// checkDir says why dir, or the nearest directory above it that exists, takes no files.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		return checkDir(filepath.Dir(dir))
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR), err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case err != nil:
		return fmt.Errorf("directory %s: %w", dir, cause(err))
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("directory %s cannot be written to: %w; choose another one with --dir", dir, err)
	}
	return nil
}

// write fetches the outputs and gives them their names. Of those that it wrote before a fault none is half a file.
func (f *files) write(ctx context.Context, blobs farm.Blobs, outputs []*kilnv1.BuildOutput) ([]progress.File, error) {
	var written []progress.File
	for _, out := range outputs {
		if out.GetSize() == 0 {
			continue
		}
		path, err := f.path(out)
		if err != nil {
			return nil, err
		}
		description, err := cache.ParseDigest(out.GetArtifact())
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", path, err)
		}
		want, err := cache.ParseDigest(out.GetDigest())
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", path, err)
		}
		copyTo := func(w io.Writer) error { return blobs.WriteArtifact(ctx, description, want, w) }
		if path == toStdout {
			err = stream(f.stdout, copyTo)
		} else {
			err = writeFile(path, copyTo)
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		written = append(written, progress.File{Path: path, Size: out.GetSize()})
	}
	return written, nil
}

// path is where an output goes: only to where the command line said, whatever the farm calls it.
func (f *files) path(out *kilnv1.BuildOutput) (string, error) {
	for _, t := range f.targets {
		if t.platform == out.GetPlatform() && t.suffix == out.GetFile() {
			return t.path, nil
		}
	}
	return "", fmt.Errorf("the farm made a file %q for %s that this build did not ask for: is it of another version?", out.GetFile(), out.GetPlatform())
}

// stream copies to a stream. What went out cannot be taken back, so that a fault after the first byte is final.
func stream(w io.Writer, copyTo func(io.Writer) error) error {
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

// writeFile gives path what fill writes, when all of it is there: until then it is in a file beside it. Devices
// and pipes are written to as they are.
func writeFile(path string, fill func(io.Writer) error) (err error) {
	info, statErr := os.Stat(path)
	if statErr == nil && info.IsDir() {
		return errors.New("there is a directory of that name")
	}
	if statErr == nil && !info.Mode().IsRegular() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return cause(err)
		}
		return errors.Join(stream(w, fill), w.Close())
	}
	dir, base := filepath.Split(path)
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return diskError(dir, err)
		}
	}
	// The file's mode is what the umask leaves, as with LinuxKit and any other tool.
	temp := fmt.Sprintf("%s.%s.%d.tmp", dir, base, os.Getpid())
	w, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return diskError(dir, err)
	}
	err = fill(w)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = replace(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the first fault is the one to tell
		return diskError(dir, err)
	}
	return nil
}

// replace gives the finished file temp its name. A file that has the name already changes places with it and is
// removed: ext4 answers a rename over a file by writing the new one out to disk at once (auto_da_alloc), which takes
// longer than making it.
func replace(temp, path string) error {
	if unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE) == nil {
		return os.Remove(temp)
	}
	return os.Rename(temp, path)
}

// diskError makes a sentence of what the file system said.
func diskError(dir string, err error) error {
	if dir == "" {
		dir = "."
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk of %s is full: free some space or choose another directory; nothing was left there", filepath.Clean(dir))
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("directory %s cannot be written to: %w; choose another one", filepath.Clean(dir), cause(err))
	}
	return err
}

// cause is what the system said, without the path that the sentence names already.
func cause(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
