package build

import (
	"bytes"
	"context"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/embedded"
	"github.com/kiln-farm/kiln/cli/ui"
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
