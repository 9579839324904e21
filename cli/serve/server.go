package serve

import (
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/embedded"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
)

func NewServer(env ui.Env) *cobra.Command {
	var data, listen, cacheDir, dnsKeys string
	var noBuilder bool
	var metrics daemon.MetricsFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a one-machine farm: API, durable coordinator, builder",
		Long: `Run a coordinator with a durable log, a builder and the API in one process. Builds in flight survive a restart.
SIGTERM drains: no new steps begin, running ones end.`,
		Example: `  kiln server --data /var/lib/kiln
  kiln build --farm http://127.0.0.1:7300 hello.yml`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if data == "" {
				return ui.Usagef("kiln server needs --data DIR for what must survive a restart")
			}
			if cacheDir == "" {
				cacheDir = filepath.Join(data, "cache")
			}
			store, err := disk.Open(cacheDir)
			if err != nil {
				return ui.Usagef("%w", err)
			}
			log := env.Logger(slog.LevelInfo)
			var clean daemon.Closers
			defer func() { err = errors.Join(err, clean.Close()) }()
			if err := metrics.Measure(cmd.Context(), log, &clean); err != nil {
				return err
			}
			keys, err := daemon.OpenDNSKeys(dnsKeys)
			if err != nil {
				return err
			}
			house, err := embedded.Start(cmd.Context(), embedded.Config{
				Cache: store, DataDir: filepath.Join(data, "raft"), Builder: !noBuilder, Careful: true, Log: log, DNSKeys: keys,
			})
			if err != nil {
				return err
			}
			err = daemon.Serve(cmd.Context(), listen, house.Handler(), log)
			return errors.Join(err, house.Close())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&data, "data", "", "directory for the raft log")
	flags.StringVar(&listen, "listen", "127.0.0.1:7300", "address of the API")
	flags.StringVar(&cacheDir, "cache", "", "directory of the cache (default DATA/cache)")
	daemon.AddDNSKeys(flags, &dnsKeys)
	metrics.AddMetrics(flags)
	flags.BoolVar(&noBuilder, "no-builder", false, "run no steps in this process")
	return cmd
}
