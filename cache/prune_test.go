package cache

import (
	"context"
	"fmt"
	"testing"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestPlanPrune(t *testing.T) {
	day := func(n int) time.Time { return time.Unix(int64(n)*86400, 0) }
	blob := func(name string, size int64, used int) Entry {
		return Entry{BlobKey(SumBytes([]byte(name))), size, day(used)}
	}
	kept, old, older, large := blob("kept", 100, 0), blob("old", 10, 2), blob("older", 10, 1), blob("large", 50, 2)
	result := Entry{ResultKey(SumBytes([]byte("r"))), 5, day(3)}
	name, build := Entry{NameKey("a"), 1, day(0)}, Entry{BuildKey("t", "1"), 1, day(0)}
	entries := []Entry{kept, old, older, large, result, name, build}
	keep := map[Key]bool{kept.Key: true}
	for _, tt := range []struct {
		name    string
		maxSize int64
		want    []Entry
	}{
		{"nothing goes when all fits", 177, nil},
		{"the longest unused goes first", 176, []Entry{older}},
		{"of one day the largest goes first", 166, []Entry{older, large}},
		{"named images, names and builds stay whatever the size", 0, []Entry{older, large, old, result}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := planPrune(entries, keep, tt.maxSize); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestPruneKeepsNamedImages(t *testing.T) {
	ctx, s := context.Background(), openDir(t)
	config, layer, loose := putBlob(t, s, []byte("{}")), putBlob(t, s, []byte("layer")), putBlob(t, s, []byte("loose"))
	manifest := putBlob(t, s, fmt.Appendf(nil, `{"config":{"digest":%q},"layers":[{"digest":%q}]}`, config, layer))
	index := putBlob(t, s, fmt.Appendf(nil, `{"manifests":[{"digest":%q},{"digest":"nonsense"},{"digest":%q}]}`, manifest, SumBytes([]byte("gone"))))
	if err := PutName(ctx, s, &kilnv1.Name{Reference: "a:1", Target: index.String()}); err != nil {
		t.Fatal(err)
	}
	if err := PutResult(ctx, s, loose, &kilnv1.Result{Kind: "flatten"}); err != nil {
		t.Fatal(err)
	}
	done, err := Prune(ctx, s, 0)
	if err != nil || done.Values != 2 || done.Bytes < 5 || done.Left <= 0 {
		t.Errorf("got %+v, %v; want the loose blob and the result gone", done, err)
	}
	missing, err := s.MissingBlobs(ctx, []Digest{config, layer, loose, manifest, index})
	if err != nil || len(missing) != 1 || missing[0] != loose {
		t.Errorf("missing: got %v, %v; want the loose blob alone", missing, err)
	}
	uses, err := Usage(ctx, s)
	if err != nil || uses[0].Values != 4 || uses[1].Values != 0 || uses[3].Values != 1 {
		t.Errorf("usage: got %v, %v", uses, err)
	}
}
