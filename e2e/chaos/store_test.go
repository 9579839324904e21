package chaos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// inspection is what a look at a whole store found.
type inspection struct {
	Blobs, Results, Finals, Compared int
	faults                           []string
}

// inspect reads every blob of a store and checks it against its name, and every result against those of a reference
// that made the same without a farm, and against what the log says was accepted. Blobs that the test itself damaged are
// spoiled, by digest.
func inspect(ctx context.Context, store, reference cache.Store, accepted map[string]string, spoiled map[string]bool) (*inspection, error) {
	in := &inspection{}
	blobs, results := map[string]bool{}, map[string]*kilnv1.Result{}
	err := store.List(ctx, cache.BlobPrefix, func(e cache.Entry) error {
		digest := "sha256:" + base(e.Key)
		if spoiled[digest] {
			return nil
		}
		in.Blobs++
		blobs[digest] = true
		got, err := hash(ctx, store, e.Key)
		switch {
		case errors.Is(err, cache.ErrNotFound): // it was damaged, and is treated as absent
			in.faults = append(in.faults, fmt.Sprintf("blob %s cannot be read: %v", digest, err))
		case err != nil:
			return err
		case got != digest:
			in.faults = append(in.faults, fmt.Sprintf("blob %s has the bytes of %s", digest, got))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the store's blobs: %w", err)
	}
	err = store.List(ctx, cache.ResultPrefix, func(e cache.Entry) error {
		key, err := cache.ParseDigest("sha256:" + base(e.Key))
		if err != nil {
			return err
		}
		if final, ok := finalOf(ctx, store, e.Key); ok {
			in.Finals++
			in.faults = append(in.faults, in.judgeFinal(ctx, e.Key, final, reference)...)
			return nil
		}
		r, err := record.GetResult(ctx, store, key)
		if err != nil {
			in.faults = append(in.faults, fmt.Sprintf("result %s cannot be read: %v", key, err))
			return nil
		}
		results[key.String()] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the store's results: %w", err)
	}
	in.Results = len(results)
	for key, r := range results {
		in.faults = append(in.faults, in.judge(ctx, key, r, reference, accepted)...)
	}
	return in, nil
}

// judge compares one result with what it should be.
func (in *inspection) judge(ctx context.Context, key string, r *kilnv1.Result, reference cache.Store, accepted map[string]string) (faults []string) {
	got := outputsText(r.GetOutputs())
	if "sha256:"+strings.TrimPrefix(r.GetKey(), "sha256:") != key {
		faults = append(faults, fmt.Sprintf("result %s says that it is of %s", key, r.GetKey()))
	}
	if want, ok := accepted[r.GetKey()]; ok && want != got {
		faults = append(faults, fmt.Sprintf("result %s is %s, and %s was accepted", key, got, want))
	}
	d, err := cache.ParseDigest(key)
	if err != nil {
		return append(faults, err.Error())
	}
	want, err := record.GetResult(ctx, reference, d)
	if errors.Is(err, cache.ErrNotFound) {
		return faults // the reference had no such step
	}
	if err != nil {
		return append(faults, err.Error())
	}
	in.Compared++
	if text := outputsText(want.GetOutputs()); text != got {
		faults = append(faults, fmt.Sprintf("result %s (%s) is %s, and without a farm %s", key, r.GetKind(), got, text))
	}
	return faults
}

// finalOf reads the record of all that a plan's key leads to, which is kept among the results under a key made from it.
func finalOf(ctx context.Context, store cache.Store, key cache.Key) (*kilnv1.Final, bool) {
	r, err := store.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	final := &kilnv1.Final{}
	if err != nil || proto.Unmarshal(data, final) != nil {
		return nil, false
	}
	return final, base(key) == fmt.Sprintf("%x", sha256.Sum256([]byte("final\x00"+final.GetPlanKey())))
}

// judgeFinal compares the outputs that a plan's key leads to with those of the reference.
func (in *inspection) judgeFinal(ctx context.Context, key cache.Key, got *kilnv1.Final, reference cache.Store) []string {
	want, ok := finalOf(ctx, reference, key)
	if !ok {
		return nil
	}
	in.Compared++
	if a, b := (&kilnv1.Final{Outputs: got.GetOutputs()}), (&kilnv1.Final{Outputs: want.GetOutputs()}); !proto.Equal(a, b) {
		return []string{fmt.Sprintf("plan %s leads to %v, and without a farm to %v", got.GetPlanKey(), a, b)}
	}
	return nil
}

// base is the last part of a key.
func base(k cache.Key) string { return k.String()[strings.LastIndex(k.String(), "/")+1:] }

// hash reads a blob whole.
func hash(ctx context.Context, store cache.Store, key cache.Key) (string, error) {
	r, err := store.Get(ctx, key, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}
