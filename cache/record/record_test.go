package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestRecords(t *testing.T) {
	ctx, s := context.Background(), cachetest.Dir(t)
	key := cache.SumBytes([]byte("key"))
	result := &kilnv1.Result{Key: key.String(), Kind: "flatten"}
	image := &kilnv1.ResolvedImage{Reference: "docker.io/library/a:1", Platform: "linux/amd64", Manifest: key.String()}
	build := &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Team: "t", Id: "1"}, Error: "no"}
	for _, err := range []error{
		PutResult(ctx, s, key, result), PutResult(ctx, s, key, &kilnv1.Result{Kind: "later"}),
		PutRef(ctx, s, "t", image), PutBuild(ctx, s, build),
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
}

func TestRecordThatDoesNotParseIsAbsent(t *testing.T) {
	ctx, s := context.Background(), cachetest.Dir(t)
	key := cache.SumBytes([]byte("key"))
	for _, k := range []cache.Key{cache.ResultKey(key), cache.NameKey("a")} {
		if err := s.Put(ctx, k, strings.NewReader("\xff\xff not ours"), -1, cache.Replace); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := GetResult(ctx, s, key); !errors.Is(err, cache.ErrNotFound) || !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("result: got %v, want ErrDamaged, which is an ErrNotFound", err)
	}
	if _, err := GetResult(ctx, s, cache.SumBytes(nil)); !errors.Is(err, cache.ErrNotFound) || errors.Is(err, cache.ErrDamaged) {
		t.Errorf("one that is not there: got %v, want ErrNotFound and no ErrDamaged", err)
	}
	if names, err := ListNames(ctx, s); err != nil || len(names) != 0 {
		t.Errorf("names: got %v, %v; want none", names, err)
	}
}

func TestListBuildsGivesTheNewestFirst(t *testing.T) {
	ctx, s := context.Background(), cachetest.Dir(t)
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
