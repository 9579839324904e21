package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/node"
)

// storeFlags say where a node keeps bytes.
type storeFlags struct{ cache string }

func (f *storeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.cache, "cache", "", "directory of the cache, the same for all coordinators and builders (default DATA/cache)")
}

// dir is the directory of the local cache.
func (f *storeFlags) dir(data *node.Data) string {
	if f.cache != "" {
		return f.cache
	}
	return data.Path("cache")
}

// open opens the cache.
func (f *storeFlags) open(_ context.Context, data *node.Data, _ *slog.Logger) (*cache.Dir, error) {
	store, err := cache.OpenDir(f.dir(data))
	if err != nil {
		return nil, usagef("%w", err)
	}
	return store, nil
}
