package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge"
)

func newEdge(env Env) *cobra.Command {
	var address, cacheDir string
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Serve what was built to machines that boot from the network",
		Long: `Serve iPXE scripts and artifacts over HTTP out of a cache directory: /boot/NAME.ipxe boots the last build
called NAME.`,
		Example: `  kiln edge --listen 127.0.0.1:7380
  kiln edge --cache /var/lib/kiln/cache`,
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cacheDir == "" {
				cacheDir = env.cacheDir()
			}
			store, err := cache.OpenDir(cacheDir)
			if err != nil {
				return usagef("%w", err)
			}
			log := env.logger(slog.LevelInfo)
			e, err := edge.New(edge.Config{Store: store, Blobs: store, Log: log})
			if err != nil {
				return err
			}
			listener, err := listen(cmd.Context(), address)
			if err != nil {
				return err
			}
			log.Info("listening", "address", "http://"+listener.Addr().String())
			return e.Serve(cmd.Context(), listener)
		},
	}
	cmd.Flags().StringVar(&address, "listen", "127.0.0.1:7380", "address to serve at")
	cmd.Flags().StringVar(&cacheDir, "cache", "", "directory of Kiln's cache (default ~/.cache/kiln)")
	return cmd
}
