package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestRecords(t *testing.T) {
	ctx, s := context.Background(), openDir(t)
	key := SumBytes([]byte("key"))
	result := &kilnv1.Result{Key: key.String(), Kind: "flatten"}
	image := &kilnv1.ResolvedImage{Reference: "docker.io/library/a:1", Platform: "linux/amd64", Manifest: key.String()}
	build := &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Team: "t", Id: "1"}, Error: "no"}
	artifact := &Artifact{Digest: key, Size: 3, Extents: []Extent{{Length: 3, Inline: []byte("key")}}}
	for _, err := range []error{
		PutResult(ctx, s, key, result), PutResult(ctx, s, key, &kilnv1.Result{Kind: "later"}),
		PutRef(ctx, s, "t", image), PutBuild(ctx, s, build), PutArtifact(ctx, s, artifact),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := GetResult(ctx, s, key); err != nil || !proto.Equal(got, result) {
		t.Errorf("result: got %v, %v", got, err)
	}
	if got, err := GetRef(ctx, s, "t", image.Reference, image.Platform); err != nil || !proto.Equal(got, image) {
		t.Errorf("ref: got %v, %v", got, err)
	}
	if got, err := GetBuild(ctx, s, "t", "1"); err != nil || !proto.Equal(got, build) {
		t.Errorf("build: got %v, %v", got, err)
	}
	if got, err := GetArtifact(ctx, s, key); err != nil || got.Size != 3 {
		t.Errorf("artifact: got %v, %v", got, err)
	}
	if err := PutArtifact(ctx, s, &Artifact{}); err == nil {
		t.Error("an artifact without a digest is recorded")
	}
}

func TestRecordThatDoesNotParseIsAbsent(t *testing.T) {
	ctx, s := context.Background(), openDir(t)
	key := SumBytes([]byte("key"))
	for _, k := range []Key{ResultKey(key), ArtifactKey(key), NameKey("a")} {
		if err := s.Put(ctx, k, strings.NewReader("\xff\xff not ours"), -1, Replace); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := GetResult(ctx, s, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("result: got %v, want ErrNotFound", err)
	}
	if _, err := GetArtifact(ctx, s, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("artifact: got %v, want ErrNotFound", err)
	}
	if names, err := ListNames(ctx, s); err != nil || len(names) != 0 {
		t.Errorf("names: got %v, %v; want none", names, err)
	}
}

func TestListBuildsGivesTheNewestFirst(t *testing.T) {
	ctx, s := context.Background(), openDir(t)
	for _, i := range []int{3, 1, 5, 2, 4} {
		if err := PutBuild(ctx, s, &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Team: "t", Id: fmt.Sprint("id-", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := PutBuild(ctx, s, &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Team: "team", Id: "id-9"}}); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]string{0: "", 2: "id-5 id-4", 10: "id-5 id-4 id-3 id-2 id-1"} {
		builds, err := ListBuilds(ctx, s, "t", limit)
		var ids []string
		for _, b := range builds {
			ids = append(ids, b.GetSpec().GetId())
		}
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("limit %d: got %q, %v; want %q", limit, got, err, want)
		}
	}
}

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
