package build

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
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/internal/outfile"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// files writes the outputs of a build, each whole or not at all.
type files struct {
	stdout  io.Writer
	targets []target
}

func newFiles(stdout io.Writer, targets []target) *files { return &files{stdout, targets} }

// toStdout is the path that means standard output.
const toStdout = "-"

// check finds out before the build whether its outputs can be written at all.
func (f *files) check() error {
	for _, t := range f.targets {
		if t.path == toStdout {
			continue
		}
		if info, err := os.Stat(t.path); err == nil && info.IsDir() {
			return ui.Usagef("output %s: there is a directory of that name", t.path)
		}
		if err := checkDir(filepath.Dir(t.path)); err != nil {
			return ui.Usagef("output %s: %w", t.path, err)
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
		return fmt.Errorf("directory %s: %w", dir, userfile.Cause(err))
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("directory %s cannot be written to: %w; choose another one with --dir", dir, err)
	}
	return nil
}

// artifacts is what files are written out of.
type artifacts interface {
	WriteArtifact(ctx context.Context, description, want cache.Digest, w io.Writer) error
}

// write fetches the outputs, and when all of them are there gives them their names: a fault leaves what was there
// before the build.
func (f *files) write(ctx context.Context, blobs artifacts, outputs []*kilnv1.BuildOutput) ([]progress.File, error) {
	var written []progress.File
	var ready []*outfile.File
	defer func() {
		for _, file := range ready {
			file.Abort()
		}
	}()
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
			err = outfile.Stream(f.stdout, copyTo)
		} else {
			var file *outfile.File
			file, err = outfile.Stage(ctx, path, copyTo)
			if errors.Is(err, cache.ErrMismatch) { // from the shared store, perhaps: it is not asked again
				file, err = outfile.Stage(ctx, path, copyTo)
			}
			if err == nil {
				ready = append(ready, file)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		written = append(written, progress.File{Path: path, Size: out.GetSize()})
	}
	for _, file := range ready {
		if err := file.Commit(); err != nil {
			return nil, fmt.Errorf("write %s: %w", file.Path, err)
		}
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
