package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/embedded"
)

const (
	// headerTimeout bounds how long a client may take to say what it wants (slow loris).
	headerTimeout = 10 * time.Second
	// closeTimeout is how long requests may go on when a server is told to end. Watchers connect again elsewhere.
	closeTimeout = 5 * time.Second
)

func newServer(env Env) *cobra.Command {
	var data, listen, cacheDir, dnsKeys string
	var noBuilder bool
	var metrics metricsFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a farm for others: API, durable coordinator, builder",
		Long: `Run a coordinator with a durable log, a builder and the API in one process. Builds in flight survive a restart.
SIGTERM drains: no new steps begin, running ones end.`,
		Example: `  kiln server --data /var/lib/kiln
  kiln build --farm http://127.0.0.1:7300 hello.yml`,
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if data == "" {
				return usagef("kiln server needs --data DIR for what must survive a restart")
			}
			if cacheDir == "" {
				cacheDir = filepath.Join(data, "cache")
			}
			store, err := disk.Open(cacheDir)
			if err != nil {
				return usagef("%w", err)
			}
			log := env.logger(slog.LevelInfo)
			var clean closers
			defer func() { err = errors.Join(err, clean.close()) }()
			if err := metrics.measure(cmd.Context(), log, &clean); err != nil {
				return err
			}
			keys, err := openDNSKeys(dnsKeys)
			if err != nil {
				return err
			}
			house, err := embedded.Start(cmd.Context(), embedded.Config{
				Cache: store, DataDir: filepath.Join(data, "raft"), Builder: !noBuilder, Careful: true, Log: log, DNSKeys: keys,
			})
			if err != nil {
				return err
			}
			err = serve(cmd.Context(), listen, house.Handler(), log)
			return errors.Join(err, house.Close())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&data, "data", "", "directory for the raft log")
	flags.StringVar(&listen, "listen", "127.0.0.1:7300", "address of the API")
	flags.StringVar(&cacheDir, "cache", "", "directory of the cache (default DATA/cache)")
	addDNSKeys(flags, &dnsKeys)
	metrics.addMetrics(flags)
	flags.BoolVar(&noBuilder, "no-builder", false, "run no steps in this process")
	return cmd
}

// serve answers HTTP at an address until ctx ends, then lets requests end.
func serve(ctx context.Context, address string, handler http.Handler, log *slog.Logger) error {
	listener, err := listen(ctx, address)
	if err != nil {
		return err
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC clients speak it without TLS
	server := &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: headerTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("listening", "address", "http://"+listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", address, err)
	case <-ctx.Done():
	}
	log.Info("ending")
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer done()
	err = server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // streams that watch for ever
	}
	<-failed
	return err
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	return listenAs(ctx, "--listen", address)
}

// listenAs is listen for another flag.
func listenAs(ctx context.Context, flag, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, usagef("%s %s: %w; choose another address", flag, address, cause(err))
	}
	return listener, nil
}
