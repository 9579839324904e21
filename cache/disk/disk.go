package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
)

// Store is a cache in a directory. Many processes may use one directory at once, and any of
// them may be killed at any moment: a value is written to a file under tmp/ and renamed when it is whole.
//
// Nothing is synced to disk, since everything in a cache can be made again. Instead what a power cut may have
// spoilt is found when it is read: blobs by their stamp (see stamp.go), records by their checksum (see record.go).
type Store struct {
	root    string
	boot    bootID
	buffers sync.Pool // of *[]byte, draftBuffer long

	mu      sync.Mutex
	trusted map[cache.Digest]identity // blobs verified by this process that could not be stamped
}

// Open opens the cache in the directory path, which it makes if need be, and sweeps what killed processes left there.
func Open(path string) (*Store, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cache directory %s: %w", path, err)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("cache directory %s cannot be made: %w; choose another one", root, reason(err))
	}
	d := &Store{root: root, boot: currentBoot(), trusted: map[cache.Digest]identity{}}
	d.buffers.New = func() any { b := make([]byte, draftBuffer); return &b }
	d.sweep()
	return d, nil
}

// Path is the directory.
func (d *Store) Path() string { return d.root }

// Get implements Store.
func (d *Store) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, fmt.Errorf("read %s: negative offset %d", key, offset)
	}
	open := d.openRecord
	if digest, ok := key.Digest(); ok {
		open = func(ctx context.Context, _ cache.Key) (*cache.File, error) { return d.Open(ctx, digest) }
	}
	f, err := open(ctx, key)
	if err != nil {
		return nil, err
	}
	return f.Range(offset, n), nil
}

// Put implements Store.
func (d *Store) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	digest, ok := key.Digest()
	if !ok {
		return d.putRecord(ctx, key, r, size, mode)
	}
	if mode == cache.IfAbsent {
		if missing, err := d.MissingBlobs(ctx, []cache.Digest{digest}); err != nil || len(missing) == 0 {
			return err
		}
	}
	draft, err := d.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if err := fill(draft, r, size); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	_, err = draft.CommitAs(digest)
	return err
}

// List implements Store. The sizes of blobs are what they take on the disk: long runs of zeros are holes.
func (d *Store) List(ctx context.Context, prefix string, f func(cache.Entry) error) error {
	below := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if _, err := cache.ParseKey(prefix[:i]); err != nil {
			return err
		}
		below = prefix[:i]
	}
	return d.walk(ctx, below, func(name string, entry fs.DirEntry) error {
		key, ok := keyOf(name)
		if !ok || !strings.HasPrefix(key.String(), prefix) {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		size := taken(info)
		if _, blob := key.Digest(); !blob {
			if size = info.Size() - recordfile.TrailerSize; size < 0 {
				return nil // cut short by a power failure
			}
		}
		return f(cache.Entry{Key: key, Size: size, LastUse: lastUse(info)})
	})
}

// walk calls f for the files below a directory of the cache, with their names in it. The cache's directory may be a
// symbolic link, as may what is directly in it: a user moved it to a disk with more room.
func (d *Store) walk(ctx context.Context, below string, f func(name string, entry fs.DirEntry) error) error {
	start, err := filepath.EvalSymlinks(filepath.Join(d.root, filepath.FromSlash(below)))
	if err != nil {
		return ignoreDeleted(err)
	}
	return filepath.WalkDir(start, func(file string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return ignoreDeleted(err)
		}
		rel, err := filepath.Rel(start, file)
		if err != nil {
			return err
		}
		name := path.Join(below, filepath.ToSlash(rel))
		switch {
		case entry.IsDir() && name == tmpDir:
			return fs.SkipDir
		case entry.IsDir():
			return nil
		case below == "" && entry.Type()&fs.ModeSymlink != 0 && !strings.Contains(name, "/") && name != tmpDir:
			if info, err := os.Stat(file); err == nil && info.IsDir() {
				return d.walk(ctx, name, f)
			}
		}
		return f(name, entry)
	})
}

func ignoreDeleted(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Delete implements Store.
func (d *Store) Delete(ctx context.Context, key cache.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(d.file(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.writeError("delete "+key.String(), err)
	}
	return nil
}

// file is where key's value is.
func (d *Store) file(key cache.Key) string {
	if digest, ok := key.Digest(); ok {
		return d.blobFile(digest)
	}
	return filepath.Join(d.root, filepath.FromSlash(key.String())) + recordfile.Suffix
}

func (d *Store) blobFile(digest cache.Digest) string {
	return filepath.Join(d.root, filepath.FromSlash(cache.BlobKey(digest).String()))
}

// keyOf undoes file, for a file's name in the cache. Files that are no value of the cache are not ok.
func keyOf(name string) (key cache.Key, ok bool) {
	record := strings.HasSuffix(name, recordfile.Suffix)
	key, err := cache.ParseKey(strings.TrimSuffix(name, recordfile.Suffix))
	if err != nil {
		return cache.Key{}, false
	}
	digest, blob := key.Digest()
	return key, record != blob && (!blob || cache.BlobKey(digest) == key)
}

// place moves a finished temporary file to where it belongs.
func place(move func(from, to string) error, from, to string) error {
	err := move(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
			err = move(from, to)
		}
	}
	return err
}

// writeError makes a sentence of what the file system said about a write.
func (d *Store) writeError(what string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: the disk of the cache directory %s is full: free some space (kiln cache prune) or choose another directory: %w", what, d.root, reason(err))
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: the cache directory %s cannot be written to: choose another one or change its permissions: %w", what, d.root, reason(err))
	}
	return fmt.Errorf("%s in the cache directory %s: %w", what, d.root, err)
}

// reason is the error below a *fs.PathError or *os.LinkError, whose paths say nothing to the user.
func reason(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// fill copies size bytes of r (size < 0: until EOF) to w.
func fill(w io.Writer, r io.Reader, size int64) error {
	if size < 0 {
		_, err := io.Copy(w, r)
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("%d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	return err
}
