package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// GetResult reads what the step with that key produced. Like all readers of records here it gives ErrNotFound
// for a record that does not parse, since whatever wrote it can write it again.
func GetResult(ctx context.Context, s Store, key Digest) (*kilnv1.Result, error) {
	return getRecord(ctx, s, ResultKey(key), &kilnv1.Result{})
}

// PutResult records what a step produced, unless it is recorded already.
func PutResult(ctx context.Context, s Store, key Digest, r *kilnv1.Result) error {
	return putRecord(ctx, s, ResultKey(key), r, IfAbsent)
}

// GetRef reads what a reference meant when it was last resolved for a team and a platform.
func GetRef(ctx context.Context, s Store, team, reference, platform string) (*kilnv1.ResolvedImage, error) {
	return getRecord(ctx, s, RefKey(team, reference, platform), &kilnv1.ResolvedImage{})
}

// PutRef records what a reference means now.
func PutRef(ctx context.Context, s Store, team string, image *kilnv1.ResolvedImage) error {
	return putRecord(ctx, s, RefKey(team, image.GetReference(), image.GetPlatform()), image, Replace)
}

// GetName reads which image was made or imported here under exactly that reference.
func GetName(ctx context.Context, s Store, reference string) (*kilnv1.Name, error) {
	return getRecord(ctx, s, NameKey(reference), &kilnv1.Name{})
}

// PutName names an image that was made or imported here.
func PutName(ctx context.Context, s Store, name *kilnv1.Name) error {
	return putRecord(ctx, s, NameKey(name.GetReference()), name, Replace)
}

// ListNames returns all images that were made or imported here, by reference.
func ListNames(ctx context.Context, s Store) ([]*kilnv1.Name, error) {
	var names []*kilnv1.Name
	err := s.List(ctx, NamePrefix, func(e Entry) error {
		name, err := getRecord(ctx, s, e.Key, &kilnv1.Name{})
		if err == nil {
			names = append(names, name)
		}
		return IgnoreNotFound(err)
	})
	slices.SortFunc(names, func(a, b *kilnv1.Name) int { return strings.Compare(a.GetReference(), b.GetReference()) })
	return names, err
}

// GetBuild reads the record of a finished build.
func GetBuild(ctx context.Context, s Store, team, id string) (*kilnv1.BuildRecord, error) {
	return getRecord(ctx, s, BuildKey(team, id), &kilnv1.BuildRecord{})
}

// PutBuild records a finished build.
func PutBuild(ctx context.Context, s Store, b *kilnv1.BuildRecord) error {
	return putRecord(ctx, s, BuildKey(b.GetSpec().GetTeam(), b.GetSpec().GetId()), b, Replace)
}

// GetRecord reads a record into a message; ErrNotFound when there is none or it is damaged.
func GetRecord(ctx context.Context, s Store, key Key, into proto.Message) error {
	_, err := getRecord(ctx, s, key, into)
	return err
}

// PutRecord stores a record in place of the one that is there.
func PutRecord(ctx context.Context, s Store, key Key, m proto.Message) error {
	return putRecord(ctx, s, key, m, Replace)
}

// ListBuilds returns a team's last builds, at most limit, newest first: ids of builds are time-ordered.
func ListBuilds(ctx context.Context, s Store, team string, limit int) ([]*kilnv1.BuildRecord, error) {
	var newest []Key // ascending, at most limit
	err := s.List(ctx, BuildsOf(team), func(e Entry) error {
		at, _ := slices.BinarySearchFunc(newest, e.Key, func(a, b Key) int { return strings.Compare(a.String(), b.String()) })
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
		b, err := getRecord(ctx, s, key, &kilnv1.BuildRecord{})
		if err := IgnoreNotFound(err); err != nil {
			return nil, err
		}
		if b != nil {
			builds = append(builds, b)
		}
	}
	return builds, nil
}

func getRecord[M proto.Message](ctx context.Context, s Store, key Key, into M) (none M, err error) {
	data, err := ReadRecord(ctx, s, key)
	if err != nil {
		return none, err
	}
	if err := proto.Unmarshal(data, into); err != nil {
		return none, fmt.Errorf("%s is damaged (%w): %w", key, err, ErrNotFound)
	}
	return into, nil
}

// ReadRecord reads a record's bytes: ErrNotFound when there is none.
func ReadRecord(ctx context.Context, s Store, key Key) ([]byte, error) {
	r, err := s.Get(ctx, key, 0, MaxRecord+1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("%s is larger than any record: %w", key, ErrNotFound)
	}
	return data, nil
}

func putRecord(ctx context.Context, s Store, key Key, m proto.Message, mode PutMode) error {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return s.Put(ctx, key, bytes.NewReader(data), int64(len(data)), mode)
}
