package daemon

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/cache/tiered"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
)

// StoreFlags say where a node keeps bytes.
type StoreFlags struct {
	Store, Public, Cache, size string
	Later                      bool // it is opened also when its server does not answer
}

func (f *StoreFlags) Add(flags *pflag.FlagSet, usage string) {
	flags.StringVar(&f.Store, "store", "", usage)
	flags.StringVar(&f.Cache, "cache", "", "directory of the local cache; without --store the same one for all coordinators and builders (default DATA/cache)")
	flags.StringVar(&f.size, "cache-size", "20G", "how large the local cache in front of --store may grow")
}

// Dir is the directory of the local cache.
func (f *StoreFlags) Dir(data *node.Data) string {
	if f.Cache != "" {
		return f.Cache
	}
	return data.Path("cache")
}

// Open opens the cache: the directory, and the store behind it when url names one. Who asks for many blobs and reads
// few, as coordinators do, has what the store holds remembered. A server that does not answer is waited for.
func (f *StoreFlags) Open(ctx context.Context, data *node.Data, url string, asks bool, log *slog.Logger) (*tiered.Cache, error) {
	most, err := ui.ParseSize("--cache-size", f.size)
	if err != nil {
		return nil, err
	}
	for {
		store, err := tiered.Open(ctx, tiered.Config{
			Dir: f.Dir(data), URL: url, MaxLocal: most, Presence: asks, PublicEndpoint: f.Public, Log: log,
			S3: func(c *s3.Config) { c.Later = f.Later },
		})
		switch {
		case errors.Is(err, cache.ErrUnavailable) && ctx.Err() == nil:
			// After a power cut everything starts at once.
			log.Warn("the shared cache does not answer; trying again", "error", err)
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, ui.Usagef("%w", err)
		}
		return store, nil
	}
}
