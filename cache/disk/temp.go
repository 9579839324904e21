package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	tmpDir = "tmp"
	// staleAge is when a temporary file may be somebody's leavings.
	staleAge = time.Hour
)

// temp makes a temporary file. It is locked while its owner lives, which is how a sweep tells that it is in use.
func (d *Store) temp() (*os.File, error) {
	dir := filepath.Join(d.root, tmpDir)
	f, err := os.CreateTemp(dir, "draft-")
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			f, err = os.CreateTemp(dir, "draft-")
		}
	}
	if err != nil {
		return nil, d.writeError("start a file", err)
	}
	_ = tryLock(f) // without locks a sweep goes by age alone
	return f, nil
}

// Scratch implements Blobs.
func (d *Store) Scratch(ctx context.Context) (*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.temp()
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		d.discard(f)
		return nil, d.writeError("start a file", err)
	}
	return f, nil
}

// discard closes a temporary file and removes it if it still has its temporary name.
func (d *Store) discard(f *os.File) {
	_ = os.Remove(f.Name()) // gone when it was renamed
	_ = f.Close()
}

// sweep removes temporary files of processes that died. It does what it can: whatever stays is swept another time.
func (d *Store) sweep() {
	entries, err := os.ReadDir(filepath.Join(d.root, tmpDir))
	if err != nil {
		return
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < staleAge {
			continue
		}
		d.sweepFile(filepath.Join(d.root, tmpDir, entry.Name()))
	}
}

func (d *Store) sweepFile(name string) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if tryLock(f) == nil {
		_ = os.Remove(name)
	}
}
