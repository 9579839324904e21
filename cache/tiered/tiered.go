// Package tiered puts together the cache of one part of a farm: a directory on the local disk and, where the farm has
// one, the store behind it that all parts share, with the wrappers in between and eviction from the directory. It is the
// one place that knows which backends there are.
//
// It never does by itself what a backend or a wrapper does, and it deletes from the shared store only what two readings
// agree is damaged.
package tiered

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/prune"
	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/cache/wrap"
	"golang.org/x/sync/semaphore"
)

const (
	operationsAtOnce = 64               // under way at once
	uploadsAtOnce    = 3                // of those: a large one holds some 20 MiB
	presenceLife     = 10 * time.Minute // that a blob is taken to be there still
	presenceMost     = 1_000_000        // blobs, some 100 bytes each
	evictEvery       = time.Minute
)

// Config says what the cache of one part of a farm is made of.
type Config struct {
	Dir      string // on the local disk
	URL      string // s3://…; empty: the directory is all there is
	MaxLocal int64  // bytes of blobs in the directory in front of a shared store; 0: no limit
	// Presence is for those who ask for many blobs and read few, as coordinators do: what the shared store was seen to
	// hold is remembered, and what lies in the directory alone does not count as there.
	Presence       bool
	PublicEndpoint string // see s3.Config
	Log            *slog.Logger
	S3             func(*s3.Config) // changes the configuration that the URL gives; for tests
}

// Cache is the cache of one part of a farm: a directory, and behind it what all parts share.
type Cache struct {
	cache.Store
	cache.Blobs
	local    *disk.Store
	s3       *s3.Store      // nil without a URL
	presence *wrap.Presence // nil unless asked for
	cfg      Config
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// Open opens a cache, and keeps its directory within its limit until Close.
func Open(ctx context.Context, cfg Config) (*Cache, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	local, err := disk.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if cfg.URL == "" {
		return &Cache{Store: local, Blobs: local, local: local, cfg: cfg, stop: func() {}}, nil
	}
	conf, err := s3.ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	conf.PublicEndpoint, conf.Log = cfg.PublicEndpoint, cfg.Log
	if cfg.S3 != nil {
		cfg.S3(&conf)
	}
	s := &Cache{local: local, cfg: cfg}
	if s.s3, err = s3.Open(ctx, conf); err != nil {
		return nil, err
	}
	var shared cache.Store = wrap.NewTraced(wrap.NewLimited(wrap.NewVerifying(s.s3), operationsAtOnce), "s3")
	if cfg.Presence {
		s.presence = wrap.NewPresence(shared, presenceLife, presenceMost)
		shared = s.presence
	}
	uploads := semaphore.NewWeighted(uploadsAtOnce)
	through := wrap.NewReadThrough(local, shared, wrap.ReadThroughOptions{
		Strict: cfg.Presence,
		Upload: func(ctx context.Context, f *cache.File) error {
			if err := uploads.Acquire(ctx, 1); err != nil {
				return err
			}
			defer uploads.Release(1)
			return s.s3.PutFile(ctx, f)
		},
	})
	s.Store, s.Blobs = through, through
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if cfg.MaxLocal > 0 {
		s.done.Go(func() { s.evict(running) })
	}
	return s, nil
}

// Close ends what runs in the background.
func (s *Cache) Close() error {
	s.stop()
	s.done.Wait()
	return nil
}

// Local is the directory.
func (s *Cache) Local() *disk.Store { return s.local }

// BlobURL makes a URL by which a blob is read from the shared store itself, for a while; see DecodeStored.
func (s *Cache) BlobURL(ctx context.Context, d cache.Digest, life time.Duration) (string, error) {
	if s.s3 == nil {
		return "", errors.New("the cache is a directory: it has no URLs")
	}
	return s.s3.PresignGet(ctx, d, life)
}

// Forget makes the next question about a blob go to the shared store.
func (s *Cache) Forget(d cache.Digest) {
	if s.presence != nil {
		s.presence.Forget(d)
	}
}

// Recheck is the second reader of a blob of which another one says that it is gone or damaged. It reads the shared
// store's copy, past everything that is remembered or kept here. When that has other bytes, the same ones twice, it is
// deleted, so that it can be made again. Gone says that the blob is not there, now if not before.
func (s *Cache) Recheck(ctx context.Context, d cache.Digest) (gone bool, err error) {
	s.Forget(d)
	if s.s3 == nil {
		missing, err := s.local.MissingBlobs(ctx, []cache.Digest{d}) // which reads it, and removes it, when it is in doubt
		return len(missing) > 0, err
	}
	var first []byte
	for range 2 {
		var sum []byte
		if sum, err = s.s3.CheckStored(ctx, d); !errors.Is(err, cache.ErrMismatch) {
			break
		}
		if first != nil && !bytes.Equal(first, sum) {
			// Other wrong bytes each time: it is the way here that spoils them.
			return false, fmt.Errorf("%w: %s is read with other bytes each time", cache.ErrUnavailable, d)
		}
		first = sum
	}
	switch {
	case errors.Is(err, cache.ErrMismatch):
		s.cfg.Log.Error("a blob in the shared cache is damaged; two readers agree, so it is deleted and made again", "blob", d.String(), "store", s.s3.String(), "error", err)
		err = s.s3.Delete(ctx, cache.BlobKey(d))
		s.Forget(d) // somebody may have asked for it meanwhile
		return true, err
	case errors.Is(err, cache.ErrNotFound):
		return true, nil
	}
	return false, err
}

// evict keeps the directory within its limit.
func (s *Cache) evict(ctx context.Context) {
	ticker := time.NewTicker(evictEvery)
	defer ticker.Stop()
	for {
		if err := prune.Evict(ctx, s.local, s.cfg.MaxLocal, time.Now()); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("the local cache could not be kept within its limit; trying again", "directory", s.local.Path(), "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
