package wrap_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	"github.com/kiln-farm/kiln/cache/wrap"
)

// emptyStore is a store beyond a network that has nothing and says so at once.
type emptyStore struct{ cache.Store }

func (emptyStore) Missing(_ context.Context, keys []cache.Key) ([]cache.Key, error) { return keys, nil }

func digests(n int) []cache.Digest {
	all := make([]cache.Digest, n)
	for i := range all {
		all[i] = cache.SumBytes(fmt.Append(nil, i))
	}
	return all
}

// Clients ask for ten thousand blobs at once. What that costs grows as what they ask for: ten times as many, where
// looking for each among all the others would take half a minute,
// and minutes under the race detector.
func TestAskingForManyAbsentBlobsIsLinear(t *testing.T) {
	for _, strict := range []bool{true, false} {
		through := wrap.NewReadThrough(cachetest.Dir(t), emptyStore{}, wrap.ReadThroughOptions{Strict: strict})
		all := digests(100_000)
		if !strict {
			all = all[:10_000] // each is looked for on the disk as well
		}
		begun := time.Now()
		missing, err := through.MissingBlobs(t.Context(), all)
		if err != nil || !slices.Equal(missing, all) {
			t.Fatalf("%d of %d are missing, %v", len(missing), len(all), err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("strict %t: it took %v", strict, took)
		}
	}
}

func BenchmarkMissingBlobsOfTenThousandAbsent(b *testing.B) {
	through := wrap.NewReadThrough(cachetest.Dir(b), emptyStore{}, wrap.ReadThroughOptions{Strict: true})
	all := digests(10_000)
	for b.Loop() {
		if missing, err := through.MissingBlobs(b.Context(), all); err != nil || len(missing) != len(all) {
			b.Fatal(len(missing), err)
		}
	}
}
