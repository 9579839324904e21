package wrap_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	"github.com/kiln-farm/kiln/cache/wrap"
)

// lyingStore is a cache.Store beyond a network that gives other bytes than it was given, some times.
type lyingStore struct {
	cache.Store
	lies atomic.Int32 // how many Gets still lie
	gets atomic.Int32
}

func (l *lyingStore) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	l.gets.Add(1)
	r, err := l.Store.Get(ctx, key, offset, n)
	if err != nil || l.lies.Add(-1) < 0 {
		return r, err
	}
	data, err := io.ReadAll(r)
	if len(data) > 0 {
		data[len(data)-1] ^= 1
	}
	return io.NopCloser(bytes.NewReader(data)), errors.Join(err, r.Close())
}

func TestVerifyingFindsLies(t *testing.T) {
	inner := cachetest.Dir(t)
	digest := cachetest.Put(t, inner, bytes.Repeat([]byte("kiln"), 50_000))
	for name, span := range map[string][2]int64{"the whole": {0, -1}, "a part": {10, 20}, "a part whose bytes are right": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			lying := &lyingStore{Store: inner}
			lying.lies.Store(1)
			r, err := wrap.NewVerifying(lying).Get(context.Background(), cache.BlobKey(digest), span[0], span[1])
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, cache.ErrMismatch) {
				t.Errorf("got %v, want ErrMismatch", err)
			}
		})
	}
}

func TestReadThroughFetchesOnce(t *testing.T) {
	shared := &lyingStore{Store: cachetest.Dir(t)}
	content := bytes.Repeat([]byte("kiln"), 100_000)
	digest := cache.SumBytes(content)
	if err := shared.Put(context.Background(), cache.BlobKey(digest), bytes.NewReader(content), -1, cache.IfAbsent); err != nil {
		t.Fatal(err)
	}
	through := wrap.NewReadThrough(cachetest.Dir(t), shared, wrap.ReadThroughOptions{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			f, err := through.Open(context.Background(), digest)
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	wg.Wait()
	if got := shared.gets.Load(); got != 1 {
		t.Errorf("fetched %d times, want once", got)
	}
	if got := cachetest.Read(t, through, digest); !bytes.Equal(got, content) {
		t.Error("it reads differently")
	}
}

func TestReadThroughMeetsLies(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lies  int32
		found bool
	}{{"one lie is asked again", 1, true}, {"two lies are a miss", 2, false}} {
		t.Run(tt.name, func(t *testing.T) {
			shared := &lyingStore{Store: cachetest.Dir(t)}
			digest := cache.SumBytes([]byte("truth"))
			if err := shared.Put(context.Background(), cache.BlobKey(digest), strings.NewReader("truth"), -1, cache.IfAbsent); err != nil {
				t.Fatal(err)
			}
			shared.lies.Store(tt.lies)
			local := cachetest.Dir(t)
			f, err := wrap.NewReadThrough(local, shared, wrap.ReadThroughOptions{}).Open(context.Background(), digest)
			if tt.found {
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				return
			}
			if !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound", err)
			}
			if missing, err := local.MissingBlobs(context.Background(), []cache.Digest{digest}); err != nil || len(missing) != 1 {
				t.Errorf("a lie was kept: %v, %v", missing, err)
			}
		})
	}
}

func TestReadThroughSharesWhatIsMade(t *testing.T) {
	shared := cachetest.Dir(t)
	through := wrap.NewReadThrough(cachetest.Dir(t), shared, wrap.ReadThroughOptions{})
	digest := cachetest.Put(t, through, []byte("made here"))
	if got := cachetest.Read(t, shared, digest); string(got) != "made here" {
		t.Errorf("shared: got %q", got)
	}
}

// countingStore counts how many operations run at a time.
type countingStore struct {
	cache.Store
	mu        sync.Mutex
	now, most int
}

func (c *countingStore) Missing(ctx context.Context, keys []cache.Key) ([]cache.Key, error) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.now--; c.mu.Unlock() }()
	return c.Store.Missing(ctx, keys)
}

func TestLimitedRunsFewAtATime(t *testing.T) {
	counting := &countingStore{Store: cachetest.Dir(t)}
	limited := wrap.NewLimited(counting, 2)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := limited.Missing(context.Background(), []cache.Key{cache.NameKey("a")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if counting.most > 2 {
		t.Errorf("%d ran at a time, want at most 2", counting.most)
	}
}
