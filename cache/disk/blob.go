package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/kiln-farm/kiln/cache"
	"golang.org/x/sync/errgroup"
)

// Open implements Blobs. The blob's stamp is checked, and its bytes when the stamp does not vouch for them.
func (d *Store) Open(ctx context.Context, digest cache.Digest) (*cache.File, error) {
	if digest.IsZero() {
		return nil, fmt.Errorf("open a blob without a digest: %w", cache.ErrNotFound)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := os.Open(d.blobFile(digest))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("blob %s: %w", digest, cache.ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("open blob %s: %w", digest, err)
		}
		id, err := d.vouch(ctx, f, digest)
		if err == nil {
			return &cache.File{File: f, Digest: digest, Size: id.size}, nil
		}
		f.Close()
		if !errors.Is(err, errReplaced) {
			return nil, err
		}
	}
}

// Missing implements Store. A blob that is not what it should be counts as missing.
func (d *Store) Missing(ctx context.Context, keys []cache.Key) ([]cache.Key, error) {
	return absent(ctx, keys, d.present)
}

// present says whether key is there, whole and right.
func (d *Store) present(ctx context.Context, key cache.Key) (bool, error) {
	if digest, ok := key.Digest(); ok {
		return d.presentBlob(ctx, digest)
	}
	f, err := d.openRecord(ctx, key)
	if err != nil {
		return false, cache.IgnoreNotFound(err)
	}
	return true, f.Close()
}

func (d *Store) presentBlob(ctx context.Context, digest cache.Digest) (bool, error) {
	f, err := d.Open(ctx, digest)
	if err != nil {
		return false, cache.IgnoreNotFound(err)
	}
	return true, f.Close()
}

// absent returns those of items that are not present, in their order, asking for several at once.
func absent[T any](ctx context.Context, items []T, present func(context.Context, T) (bool, error)) ([]T, error) {
	here := make([]bool, len(items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, item := range items {
		group.Go(func() (err error) {
			here[i], err = present(ctx, item)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var missing []T
	for i, item := range items {
		if !here[i] {
			missing = append(missing, item)
		}
	}
	return missing, nil
}

// errReplaced: the file that was found wrong is not the one under that name any more.
var errReplaced = errors.New("replaced by another process")

// vouch returns nil when f holds the bytes of digest, by its stamp or by reading it. A file that is wrong twice
// is removed: ErrNotFound.
func (d *Store) vouch(ctx context.Context, f *os.File, digest cache.Digest) (identity, error) {
	id, err := identify(f)
	if err != nil {
		return identity{}, fmt.Errorf("open blob %s: %w", digest, err)
	}
	if d.stamped(f, digest, id) {
		d.touch(f, digest, id)
		return id, nil
	}
	for range 2 {
		sum, err := sumFile(ctx, f)
		if err != nil {
			return identity{}, fmt.Errorf("verify blob %s: %w", digest, err)
		}
		if sum == digest {
			if !d.touch(f, digest, id) {
				d.stamp(f, digest, id)
			}
			return id, nil
		}
	}
	now, err := os.Stat(d.blobFile(digest))
	if err == nil && !id.sameFile(now) {
		return identity{}, errReplaced
	}
	if err := os.Remove(d.blobFile(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return identity{}, d.writeError("remove spoilt blob "+digest.String(), err)
	}
	return identity{}, fmt.Errorf("blob %s: its file was changed or damaged and is removed: %w", digest, cache.ErrNotFound)
}

// sumFile hashes all of f without moving its position.
func sumFile(ctx context.Context, f *os.File) (cache.Digest, error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return cache.Digest{}, err
		}
		n, err := f.ReadAt(buf, off)
		h.Write(buf[:n])
		off += int64(n)
		if err == io.EOF {
			return cache.FromSum([sha256.Size]byte(h.Sum(nil))), nil
		}
		if err != nil {
			return cache.Digest{}, err
		}
	}
}

// MissingBlobs implements Blobs.
func (d *Store) MissingBlobs(ctx context.Context, digests []cache.Digest) ([]cache.Digest, error) {
	return absent(ctx, digests, d.presentBlob)
}
