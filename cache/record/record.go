// Package record reads and writes the small values of a store that have names: results of steps, meanings of
// references, images by name, finished builds. It is the one codec that they have.
//
// It never keeps a blob, and it never decides who may write a record: a builder writes none (DESIGN §3).
package record

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// GetResult reads what the step with that key produced. Like all readers of records here it gives ErrDamaged, which is
// an ErrNotFound, for a record that does not parse: whatever wrote it can write it again.
func GetResult(ctx context.Context, s cache.Store, key cache.Digest) (*kilnv1.Result, error) {
	return get(ctx, s, cache.ResultKey(key), &kilnv1.Result{})
}

// PutResult records what a step produced, unless it is recorded already.
func PutResult(ctx context.Context, s cache.Store, key cache.Digest, r *kilnv1.Result) error {
	return put(ctx, s, cache.ResultKey(key), r, cache.IfAbsent)
}

// GetRef reads what a reference meant when it was last resolved for a team and a platform.
func GetRef(ctx context.Context, s cache.Store, team, reference, platform string) (*kilnv1.ResolvedImage, error) {
	return get(ctx, s, cache.RefKey(team, reference, platform), &kilnv1.ResolvedImage{})
}

// PutRef records what a reference means now.
func PutRef(ctx context.Context, s cache.Store, team string, image *kilnv1.ResolvedImage) error {
	return put(ctx, s, cache.RefKey(team, image.GetReference(), image.GetPlatform()), image, cache.Replace)
}

// GetName reads which image was made or imported here under exactly that reference.
func GetName(ctx context.Context, s cache.Store, reference string) (*kilnv1.Name, error) {
	return get(ctx, s, cache.NameKey(reference), &kilnv1.Name{})
}

// PutName names an image that was made or imported here.
func PutName(ctx context.Context, s cache.Store, name *kilnv1.Name) error {
	return put(ctx, s, cache.NameKey(name.GetReference()), name, cache.Replace)
}

// ListNames returns all images that were made or imported here, by reference.
func ListNames(ctx context.Context, s cache.Store) ([]*kilnv1.Name, error) {
	var names []*kilnv1.Name
	err := s.List(ctx, cache.NamePrefix, func(e cache.Entry) error {
		name, err := get(ctx, s, e.Key, &kilnv1.Name{})
		if err == nil {
			names = append(names, name)
		}
		return cache.IgnoreNotFound(err)
	})
	slices.SortFunc(names, func(a, b *kilnv1.Name) int { return strings.Compare(a.GetReference(), b.GetReference()) })
	return names, err
}

// GetBuild reads the record of a finished build.
func GetBuild(ctx context.Context, s cache.Store, team, id string) (*kilnv1.BuildRecord, error) {
	return get(ctx, s, cache.BuildKey(team, id), &kilnv1.BuildRecord{})
}

// PutBuild records a finished build.
func PutBuild(ctx context.Context, s cache.Store, b *kilnv1.BuildRecord) error {
	return put(ctx, s, cache.BuildKey(b.GetSpec().GetTeam(), b.GetSpec().GetId()), b, cache.Replace)
}

// Get reads a record into a message; ErrNotFound when there is none, ErrDamaged when it does not parse.
func Get(ctx context.Context, s cache.Store, key cache.Key, into proto.Message) error {
	_, err := get(ctx, s, key, into)
	return err
}

// Put stores a record in place of the one that is there.
func Put(ctx context.Context, s cache.Store, key cache.Key, m proto.Message) error {
	return put(ctx, s, key, m, cache.Replace)
}

// Keep stores a record unless there is one.
func Keep(ctx context.Context, s cache.Store, key cache.Key, m proto.Message) error {
	return put(ctx, s, key, m, cache.IfAbsent)
}

// ListBuilds returns a team's last builds, at most limit, newest first: ids of builds are time-ordered.
func ListBuilds(ctx context.Context, s cache.Store, team string, limit int) ([]*kilnv1.BuildRecord, error) {
	var newest []cache.Key // ascending, at most limit
	err := s.List(ctx, cache.BuildsOf(team), func(e cache.Entry) error {
		at, _ := slices.BinarySearchFunc(newest, e.Key, func(a, b cache.Key) int { return strings.Compare(a.String(), b.String()) })
		newest = slices.Insert(newest, at, e.Key)
		if len(newest) > limit {
			newest = newest[1:]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the builds of %s: %w", team, err)
	}
	var builds []*kilnv1.BuildRecord
	for _, key := range slices.Backward(newest) {
		b, err := get(ctx, s, key, &kilnv1.BuildRecord{})
		if err := cache.IgnoreNotFound(err); err != nil {
			return nil, err
		}
		if b != nil {
			builds = append(builds, b)
		}
	}
	return builds, nil
}

func get[M proto.Message](ctx context.Context, s cache.Store, key cache.Key, into M) (none M, err error) {
	data, err := Read(ctx, s, key)
	if err != nil {
		return none, err
	}
	if err := proto.Unmarshal(data, into); err != nil {
		return none, fmt.Errorf("%s is damaged (%w): %w", key, err, cache.ErrDamaged)
	}
	return into, nil
}

// Read reads a record's bytes: ErrNotFound when there is none.
func Read(ctx context.Context, s cache.Store, key cache.Key) ([]byte, error) {
	r, err := s.Get(ctx, key, 0, cache.MaxRecord+1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if len(data) > cache.MaxRecord {
		return nil, fmt.Errorf("%s is larger than any record: %w", key, cache.ErrDamaged)
	}
	return data, nil
}

func put(ctx context.Context, s cache.Store, key cache.Key, m proto.Message, mode cache.PutMode) error {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err == nil && len(data) > cache.MaxRecord {
		err = fmt.Errorf("it has %d bytes, and a record at most %d", len(data), cache.MaxRecord)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return s.Put(ctx, key, bytes.NewReader(data), int64(len(data)), mode)
}
