package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/prune"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/cache/tiered"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/image/oci"
)

func NewCache(env ui.Env) *cobra.Command {
	var dir, url string
	shared := func(ctx context.Context) (*tiered.Cache, error) { return openShared(ctx, env, dir, url) }
	open := func() (*disk.Store, error) {
		if url != "" {
			return nil, ui.Usagef("--store %s: that is for kiln cache import; a farm's shared cache is not looked at or made smaller from here", url)
		}
		if dir == "" {
			dir = env.CacheDir()
		}
		store, err := disk.Open(dir)
		if err != nil {
			return nil, ui.Usagef("%w", err)
		}
		return store, nil
	}
	cmd := ui.Group("cache", "List, import into and prune the cache",
		newCacheImport(env, shared), newCacheList(env, open), newCachePrune(env, open))
	cmd.PersistentFlags().StringVar(&dir, "cache", "", "directory of Kiln's cache (default ~/.cache/kiln)")
	cmd.PersistentFlags().StringVar(&url, "store", "", storeUsage)
	return cmd
}

// storeUsage is the help of flags that name a farm's cache.
const storeUsage = "URL of a farm's shared cache, for images that its builds use: s3://BUCKET/PREFIX?endpoint=URL (KILN_STORE)"

// openShared opens the cache in a directory, and a farm's behind it when there is a URL.
func openShared(ctx context.Context, env ui.Env, dir, url string) (*tiered.Cache, error) {
	if dir == "" {
		dir = env.CacheDir()
	}
	store, err := tiered.Open(ctx, tiered.Config{Dir: dir, URL: url, Log: env.Logger(slog.LevelWarn)})
	if err != nil && !errors.Is(err, cache.ErrUnavailable) {
		return nil, ui.Usagef("%w", err)
	}
	return store, err
}

func newCacheImport(env ui.Env, open func(context.Context) (*tiered.Cache, error)) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import FILE.tar|DIR…",
		Short: "Import images from OCI layouts or docker-save tars",
		Long: `Import images from OCI layouts, as tars or directories, and from what docker save writes, under the names they have
there. An image that has none, or nothing but a tag, needs --name.`,
		Example: `  kiln cache import image.tar
  docker save IMAGE | kiln cache import -
  kiln cache import --name example.com/hello:1 layout/
  kiln cache import --store s3://kiln?endpoint=https://s3.lab:9000 image.tar`,
		Args: ui.Between(1, -1, "a FILE.tar or DIR"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if name != "" && len(args) > 1 {
				return ui.Usagef("--name %s: it names one image, and there are %d files: import them one by one", name, len(args))
			}
			store, err := open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			for _, arg := range args {
				if err := importImages(cmd.Context(), env, store, arg, name); err != nil {
					return fmt.Errorf("import %s: %w", arg, err)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the one image in it is to be called, such as example.com/hello:1")
	return cmd
}

// importImages imports an archive, standard input ("-"), or a directory.
func importImages(ctx context.Context, env ui.Env, store *tiered.Cache, path, name string) error {
	var names []string
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		if names, err = oci.ImportDir(ctx, store, store, path, name); err != nil {
			return err
		}
	} else if names, err = importFile(ctx, env, store, path, name); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(env.Stdout, name); err != nil {
			return err
		}
	}
	return nil
}

func importFile(ctx context.Context, env ui.Env, store *tiered.Cache, path, name string) ([]string, error) {
	r, err := ui.OpenInput(ctx, env, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return oci.Import(ctx, store, store, r, name)
}

func newCacheList(env ui.Env, open func() (*disk.Store, error)) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List what is in the cache, and its size",
		Example: "  kiln cache ls",
		Args:    ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := open()
			if err != nil {
				return err
			}
			return listCache(cmd.Context(), env.Stdout, store)
		},
	}
}

func listCache(ctx context.Context, out io.Writer, store *disk.Store) error {
	uses, err := prune.Usage(ctx, store)
	if err != nil {
		return err
	}
	names, err := record.ListNames(ctx, store)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, store.Path())
	var total int64
	for _, use := range uses {
		what, _, _ := strings.Cut(use.Prefix, "/")
		fmt.Fprintf(w, "  %s\t%d\t%s\n", what, use.Values, progress.Size(use.Bytes))
		total += use.Bytes
	}
	fmt.Fprintf(w, "  all\t\t%s\n", progress.Size(total))
	if len(names) > 0 {
		fmt.Fprintln(w, "images made or imported here")
	}
	for _, name := range names {
		fmt.Fprintf(w, "  %s\t%s\n", name.GetReference(), name.GetTarget())
	}
	return w.Flush()
}

func newCachePrune(env ui.Env, open func() (*disk.Store, error)) *cobra.Command {
	var size string
	cmd := &cobra.Command{
		Use:   "prune --max-size SIZE",
		Short: "Delete the least recently used entries until the cache is no larger than SIZE",
		Example: `  kiln cache prune --max-size 20G
  kiln cache prune --max-size 0`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			most, err := ui.ParseSize("--max-size", size)
			if err != nil {
				return err
			}
			store, err := open()
			if err != nil {
				return err
			}
			pruned, err := prune.Run(cmd.Context(), store, most)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "removed %d values, %s; %s are left\n",
				pruned.Values, progress.Size(pruned.Bytes), progress.Size(pruned.Left))
			return err
		},
	}
	cmd.Flags().StringVar(&size, "max-size", "", "such as 500M or 20G; images made or imported here stay")
	return cmd
}
