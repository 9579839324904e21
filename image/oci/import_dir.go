package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
)

// The documents that say which images an archive or a directory holds.
const (
	layoutIndex = imagespec.ImageIndexFile // "index.json"
	dockerList  = "manifest.json"
)

// ImportDir is Import of a directory: an OCI layout, or what docker save wrote when it is unpacked. Of its blobs it
// reads those of the images that it names; links in it that lead out of it are not followed.
func ImportDir(ctx context.Context, blobs cache.Blobs, store cache.Store, dir, as string) ([]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer root.Close()
	a := &archive{blobs: blobs, files: map[string]cache.Digest{}, documents: map[string][]byte{}, dir: root}
	for _, name := range []string{layoutIndex, dockerList} {
		data, err := a.document(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		a.documents[name] = data
	}
	return a.imported(ctx, store, as)
}

// open opens a file below the directory. It does not wait for anybody, as a named pipe would have it.
func (a *archive) open(name string) (*os.File, error) {
	f, err := a.dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (a *archive) document(name string) ([]byte, error) {
	f, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err == nil && len(data) > MaxDocument {
		err = fmt.Errorf("%s has more than %d bytes", name, MaxDocument)
	}
	return data, err
}

// load stores a file of the directory as a blob, once.
func (a *archive) load(ctx context.Context, name string) (cache.Digest, error) {
	if d, ok := a.files[name]; ok {
		return d, nil
	}
	f, err := a.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return cache.Digest{}, fmt.Errorf("it lacks %.200s: export the image again", name)
	}
	if err != nil {
		return cache.Digest{}, err
	}
	defer f.Close()
	d, err := a.store(ctx, name, f)
	if err != nil {
		return cache.Digest{}, fmt.Errorf("%s: %w", name, err)
	}
	a.files[name] = d
	return d, nil
}

// ensure brings a blob of the directory's layout into the cache. One that is nowhere is for others to miss.
func (a *archive) ensure(ctx context.Context, d cache.Digest) error {
	if a.dir == nil {
		return nil
	}
	missing, err := a.blobs.MissingBlobs(ctx, []cache.Digest{d})
	if err != nil || len(missing) == 0 {
		return err
	}
	name := "blobs/sha256/" + d.Hex()
	if _, err := a.dir.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err = a.load(ctx, name)
	return err
}

// fetch is a Fetch of what the archive or the directory holds.
func (a *archive) fetch(ctx context.Context, d imagespec.Descriptor) ([]byte, error) {
	want, err := cache.ParseDigest(string(d.Digest))
	if err != nil {
		return nil, err
	}
	if err := a.ensure(ctx, want); err != nil {
		return nil, err
	}
	return FetchFrom(a.blobs)(ctx, d)
}
