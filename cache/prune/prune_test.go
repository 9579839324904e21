package prune

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestPlanPrune(t *testing.T) {
	day := func(n int) time.Time { return time.Unix(int64(n)*86400, 0) }
	blob := func(name string, size int64, used int) cache.Entry {
		return cache.Entry{Key: cache.BlobKey(cache.SumBytes([]byte(name))), Size: size, LastUse: day(used)}
	}
	kept, old, older, large := blob("kept", 100, 0), blob("old", 10, 2), blob("older", 10, 1), blob("large", 50, 2)
	result := cache.Entry{Key: cache.ResultKey(cache.SumBytes([]byte("r"))), Size: 5, LastUse: day(3)}
	name, build := cache.Entry{Key: cache.NameKey("a"), Size: 1, LastUse: day(0)}, cache.Entry{Key: cache.BuildKey("t", "1"), Size: 1, LastUse: day(0)}
	entries := []cache.Entry{kept, old, older, large, result, name, build}
	keep := map[cache.Key]bool{kept.Key: true}
	for _, tt := range []struct {
		name    string
		maxSize int64
		want    []cache.Entry
	}{
		{"nothing goes when all fits", 177, nil},
		{"the longest unused goes first", 176, []cache.Entry{older}},
		{"of one day the largest goes first", 166, []cache.Entry{older, large}},
		{"named images, names and builds stay whatever the size", 0, []cache.Entry{older, large, old, result}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := plan(entries, keep, tt.maxSize); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestPruneKeepsNamedImages(t *testing.T) {
	ctx, s := context.Background(), cachetest.Dir(t)
	config, layer, loose := cachetest.Put(t, s, []byte("{}")), cachetest.Put(t, s, []byte("layer")), cachetest.Put(t, s, []byte("loose"))
	manifest := cachetest.Put(t, s, fmt.Appendf(nil, `{"config":{"digest":%q},"layers":[{"digest":%q}]}`, config, layer))
	index := cachetest.Put(t, s, fmt.Appendf(nil, `{"manifests":[{"digest":%q},{"digest":"nonsense"},{"digest":%q}]}`, manifest, cache.SumBytes([]byte("gone"))))
	if err := record.PutName(ctx, s, &kilnv1.Name{Reference: "a:1", Target: index.String()}); err != nil {
		t.Fatal(err)
	}
	if err := record.PutResult(ctx, s, loose, &kilnv1.Result{Kind: "flatten"}); err != nil {
		t.Fatal(err)
	}
	done, err := Run(ctx, s, 0)
	if err != nil || done.Values != 2 || done.Bytes < 5 || done.Left <= 0 {
		t.Errorf("got %+v, %v; want the loose blob and the result gone", done, err)
	}
	missing, err := s.MissingBlobs(ctx, []cache.Digest{config, layer, loose, manifest, index})
	if err != nil || len(missing) != 1 || missing[0] != loose {
		t.Errorf("missing: got %v, %v; want the loose blob alone", missing, err)
	}
	uses, err := Usage(ctx, s)
	if err != nil || uses[0].Values != 4 || uses[1].Values != 0 || uses[3].Values != 1 {
		t.Errorf("usage: got %v, %v", uses, err)
	}
}
