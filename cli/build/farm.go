package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/embedded"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// stopGrace is how long steps may take to notice that their build is canceled.
const stopGrace = 2 * time.Second

// connectFarm gives the farm that the flags name: the one at a URL, or one that starts here and ends with close.
func connectFarm(ctx context.Context, env ui.Env, flags *access.Flags, store *disk.Store, unpack *kilnv1.UnpackLimits) (f *client.Farm, close func() error, err error) {
	if flags.Farm != "" {
		f, err := flags.Dial(ctx, env, 0)
		return f, func() error { return nil }, err
	}
	house, err := embedded.Start(ctx, embedded.Config{Cache: store, Builder: true, Grace: stopGrace, Unpack: unpack, Log: env.Quiet()})
	if err != nil {
		return nil, nil, err
	}
	return client.Local(house.Client(), store), house.Close, nil
}

func putBytes(ctx context.Context, store cache.Store, d cache.Digest, b []byte) error {
	return store.Put(ctx, cache.BlobKey(d), bytes.NewReader(b), int64(len(b)), cache.IfAbsent)
}

// buildOnce runs the build to its end, with an id of its own.
func buildOnce(ctx context.Context, f *client.Farm, spec *kilnv1.BuildSpec, display progress.Display) (*kilnv1.StateChanged, error) {
	if err := newID(spec); err != nil {
		return nil, err
	}
	end, err := f.Build(ctx, spec, display.Event)
	if err != nil {
		return nil, err
	}
	return end, history.Ended(end.GetState(), end.GetError())
}

// newID gives a build an id: a UUIDv7, so that ids sort by the time of their making (RFC 9562 §5.7).
func newID(spec *kilnv1.BuildSpec) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id for the build: %w", err)
	}
	spec.Id = id.String()
	return nil
}

// lostUpload says that the farm does not have what was uploaded to it: it was lost meanwhile.
func lostUpload(err error) bool {
	var refused *client.APIError
	return errors.As(err, &refused) && refused.Code == connect.CodeFailedPrecondition
}

// waitForLoss waits before what was lost is sent or made again.
func waitForLoss(ctx context.Context, try int) {
	select {
	case <-time.After(lossWait << try):
	case <-ctx.Done():
	}
}

// storeMessage keeps a message under the digest of its bytes, which are the same each time.
func storeMessage(ctx context.Context, store *disk.Store, m proto.Message) (cache.Digest, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return cache.Digest{}, err
	}
	d := cache.SumBytes(b)
	return d, putBytes(ctx, store, d, b)
}

const (
	// maxBuilds is how often a build is submitted when blobs of its outputs turn out to be lost: the cache drops a
	// damaged blob when it finds it, and the next build makes it again.
	maxBuilds = 5
	// lossWait is how long the first of those builds waits, the next ones longer: what loses blobs may pass.
	lossWait = 250 * time.Millisecond
)
