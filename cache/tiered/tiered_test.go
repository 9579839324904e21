package tiered_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/cache/tiered"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// part opens the cache of one part of a farm.
func part(t *testing.T, s *s3test.Server, via string, change func(*tiered.Config)) *tiered.Cache {
	t.Helper()
	cfg := tiered.Config{
		Dir: t.TempDir(), URL: s.URL(fmt.Sprintf("%x", t.Name()), via),
		S3: func(c *s3.Config) {
			c.Credentials = credentials.NewStaticV4(s.AccessKey, s.Secret, "")
			c.Patience = 20 * time.Second
		},
	}
	if change != nil {
		change(&cfg)
	}
	shared, err := tiered.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.Close(); err != nil {
			t.Error(err)
		}
	})
	return shared
}

func TestACacheOfTwoTiersKeepsTheContract(t *testing.T) {
	s := s3test.New(t)
	cachetest.Run(t, func(t *testing.T) cache.Store { return part(t, s, "", nil) })
	cachetest.RunBlobs(t, func(t *testing.T) cache.Blobs { return part(t, s, "", nil) })
}

func content(blobs cache.Blobs, ctx context.Context, d cache.Digest) ([]byte, error) {
	f, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f.Section(0, f.Size))
}

func TestWhatOnePartStoresAnotherReads(t *testing.T) {
	s := s3test.New(t)
	maker, reader := part(t, s, "", nil), part(t, s, "", nil)
	for _, data := range [][]byte{nil, []byte("small"), cachetest.Text(2 << 20), cachetest.Noise(9 << 20)} {
		d := cachetest.Put(t, maker, data)
		got, err := content(reader, t.Context(), d)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d come back, %v", len(data), len(got), err)
		}
	}
}

// Whatever happens on the way, a reader gets the right bytes or an error, and in the end the right bytes.
func TestFaultsOnTheWayNeverGiveWrongBytes(t *testing.T) {
	s := s3test.New(t)
	data := [][]byte{[]byte("small"), cachetest.Text(3 << 20), cachetest.Noise(2 << 20)}
	maker := part(t, s, "", nil)
	for i, c := range []struct {
		fault s3test.Fault
		rate  float64
	}{
		{s3test.Slow, 0.5}, {s3test.Errors, 0.5}, {s3test.Drop, 0.6}, {s3test.Lose, 0.5}, {s3test.Flip, 0.7}, {s3test.Down, 0.5},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			proxy, err := s3test.NewProxy(s.Address, "127.0.0.1:0", uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			reader := part(t, s, proxy.URL, func(c *tiered.Config) {
				c.URL = s.URL(fmt.Sprintf("%x", "TestFaultsOnTheWayNeverGiveWrongBytes"), proxy.URL)
			})
			proxy.Set(c.fault, c.rate)
			for _, want := range data {
				d := cachetest.Put(t, maker, want)
				for try := 0; ; try++ {
					got, err := content(reader, t.Context(), d)
					if err == nil && !bytes.Equal(got, want) {
						t.Fatalf("wrong bytes")
					}
					if err == nil {
						break
					}
					if !errors.Is(err, cache.ErrNotFound) && !errors.Is(err, cache.ErrUnavailable) || try == 50 {
						t.Fatal(err)
					}
				}
				// And writing through it.
				mine := append(bytes.Clone(want), byte(i))
				d = cachetest.Put(t, reader, mine)
				if got, err := content(maker, t.Context(), d); err != nil || !bytes.Equal(got, mine) {
					t.Fatalf("what was written: %d bytes, %v", len(got), err)
				}
			}
			if proxy.Counts()[c.fault] == 0 {
				t.Error("the fault never happened")
			}
		})
	}
}

func TestADamagedBlobIsCondemnedByASecondReaderAndMadeAgain(t *testing.T) {
	s := s3test.New(t)
	maker, reader, leader := part(t, s, "", nil), part(t, s, "", nil), part(t, s, "", func(c *tiered.Config) { c.Presence = true })
	for _, data := range [][]byte{cachetest.Noise(100 << 10), cachetest.Text(2 << 20)} {
		d := cachetest.Put(t, maker, data)
		if missing, err := leader.MissingBlobs(t.Context(), []cache.Digest{d}); err != nil || len(missing) > 0 {
			t.Fatalf("missing %v, %v", missing, err)
		}
		file := filepath.Join(s.Dir(), fmt.Sprintf("%x", t.Name()), cache.BlobKey(d).String())
		stored, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		stored[len(stored)/2] ^= 4
		if f, err := os.OpenFile(file, os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		} else if _, err := f.WriteAt(stored, 0); errors.Join(err, f.Close()) != nil {
			t.Fatal(err)
		}
		if _, err := content(reader, t.Context(), d); !errors.Is(err, cache.ErrNotFound) {
			t.Fatalf("a damaged blob is read: %v", err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Fatal("one reader deleted it")
		}
		if gone, err := leader.Recheck(t.Context(), d); err != nil || !gone {
			t.Fatalf("the second reader: gone %t, %v", gone, err)
		}
		if missing, err := leader.MissingBlobs(t.Context(), []cache.Digest{d}); err != nil || len(missing) != 1 {
			t.Fatalf("missing afterwards %v, %v", missing, err)
		}
		cachetest.Put(t, maker, data)
		if got, err := content(reader, t.Context(), d); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("made again: %d bytes, %v", len(got), err)
		}
		if gone, err := leader.Recheck(t.Context(), d); err != nil || gone {
			t.Fatalf("the good one: gone %t, %v", gone, err)
		}
	}
}

// A way that spoils bytes, other ones each time, condemns nothing: neither a blob that is stored as it is nor a packed
// one, whose faults all read alike.
func TestASecondReaderOnABadWayDeletesNothing(t *testing.T) {
	s := s3test.New(t)
	proxy, err := s3test.NewProxy(s.Address, "127.0.0.1:0", 7)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	maker := part(t, s, "", nil)
	leader := part(t, s, proxy.URL, func(c *tiered.Config) {
		c.URL, c.Presence = s.URL(fmt.Sprintf("%x", t.Name()), proxy.URL), true
	})
	proxy.Set(s3test.Flip, 1)
	for _, data := range [][]byte{cachetest.Noise(100 << 10), cachetest.Text(2 << 20)} {
		d := cachetest.Put(t, maker, data)
		for range 20 {
			if gone, err := leader.Recheck(t.Context(), d); gone || !errors.Is(err, cache.ErrUnavailable) {
				t.Fatalf("gone %t, %v", gone, err)
			}
		}
		if missing, err := maker.Missing(t.Context(), []cache.Key{cache.BlobKey(d)}); err != nil || len(missing) > 0 {
			t.Fatalf("missing %v, %v", missing, err)
		}
	}
}

func TestAWarmCoordinatorAsksNothing(t *testing.T) {
	s := s3test.New(t)
	proxy, err := s3test.NewProxy(s.Address, "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	leader := part(t, s, proxy.URL, func(c *tiered.Config) { c.Presence = true })
	var all []cache.Digest
	for i := range 50 {
		all = append(all, cachetest.Put(t, leader, []byte(fmt.Sprint("blob", i))))
	}
	if missing, err := leader.MissingBlobs(t.Context(), all); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	proxy.Set(s3test.Down, 1) // whoever asks now gets no answer
	if missing, err := leader.MissingBlobs(t.Context(), all); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	if n := proxy.Counts()[s3test.Down]; n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}
