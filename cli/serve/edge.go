package serve

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/fair"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/timeline"
)

func NewEdge(env ui.Env) *cobra.Command {
	var f edgeFlags
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Run a boot edge: DHCP, TFTP and HTTP for machines that boot from the network",
		Long: `Boot machines from the network: iPXE scripts, kernels and configuration over HTTP, and with --interface DHCP and TFTP
for their firmware. Which machines there are, and what they boot, says kiln apply.

With --data the edge is part of a farm, which it joins with a token the first time. It keeps what it saw last, and boots
machines from that when the farm and its cache are away. Without, it serves a cache directory of this host.`,
		Example: `  kiln edge --listen 127.0.0.1:7380
  kiln edge --data /var/lib/kiln/edge --join kiln1:7300 --token-file token.txt --interface eth1
  kiln edge --interface eth1 --dhcp proxy`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runEdge(cmd.Context(), env, &f) },
	}
	flags := cmd.Flags()
	f.Flags.Add(flags)
	f.AddMetrics(flags)
	f.StoreFlags.Add(flags, "URL of the farm's shared cache (default: what the coordinators say)")
	flags.StringVar(&f.listen, "listen", "", "address for HTTP (default 127.0.0.1:7380, or that of --interface)")
	flags.StringVar(&f.url, "url", "", "URL under which machines reach this edge (default: where it listens)")
	flags.StringSliceVar(&f.peers, "peer", nil, "URL of another edge, at which a boot may go on (default: those of the farm)")
	flags.StringVar(&f.inFlight, "http-in-flight", "16M", "bytes of files that are sent over HTTP at once; machines take turns beyond that")
	flags.IntVar(&f.transfers, "http-transfers", fair.DefaultTransfers, "files that are sent over HTTP at once, those that wait for their turn included; who is beyond that is told to ask again")
	f.pxe.Add(flags)
	return cmd
}

func runEdge(ctx context.Context, env ui.Env, f *edgeFlags) (err error) {
	log := env.Logger(slog.LevelInfo)
	var clean daemon.Closers
	defer func() { err = errors.Join(err, clean.Close()) }()
	if err := f.Measure(ctx, log, &clean); err != nil {
		return err
	}
	if err := f.pxe.Check(); err != nil {
		return err
	}
	inFlight, err := ui.ParseSize("--http-in-flight", f.inFlight)
	if err != nil {
		return err
	}
	if inFlight < 1 || f.transfers < 1 {
		return ui.Usagef("--http-in-flight and --http-transfers are at least 1: leave them out for the defaults")
	}
	address, err := f.pxe.Address(f.listen)
	if err != nil {
		return err
	}
	listener, err := daemon.Listen(ctx, address)
	if err != nil {
		return err
	}
	clean.Add(func() error { _ = listener.Close(); return nil }) // the server has closed it
	if f.url == "" {
		f.url = "http://" + listener.Addr().String()
	}
	places, err := f.pxe.Places(ctx, listener)
	if err != nil {
		return err
	}
	f.url6 = f.pxe.URL6(places)
	var source intentSource
	if f.Data == "" {
		source, err = f.local(env, log)
	} else {
		source, err = f.member(ctx, env, log, &clean)
	}
	if err != nil {
		return err
	}
	f.pxe.Pools = source.pools
	intents, err := intent.Open(source.file, log)
	if err != nil {
		return err
	}
	events := timeline.New(source.name, source.report, log)
	e, err := edge.New(edge.Config{Store: source.store, Blobs: source.blobs, Log: log, Intents: intents, Events: events, Once: source.once, URL: f.url, SessionsOnly: !f.pxe.MetadataV1,
		Fair: fair.Config{Bytes: inFlight, Transfers: f.transfers}})
	if err != nil {
		return err
	}
	stop := e.Measure()
	clean.Add(func() error { stop(); return nil })
	if len(f.peers) > 0 {
		e.SetOthers(f.peers)
	}
	clean.Run(ctx, events.Run)
	if source.stopped != nil {
		clean.Run(ctx, func(ctx context.Context) { tellStopped(ctx, source.stopped, events) })
	}
	clean.Run(ctx, func(ctx context.Context) { source.follow(ctx, intents, e.SetOthers) })
	clean.Run(ctx, e.Prefetch)
	if err := f.pxe.Serve(ctx, e, intents, log, &clean); err != nil {
		return err
	}
	if err := f.pxe.Serve6(ctx, e, f.url6, places, log, &clean); err != nil {
		return err
	}
	clean.Run(ctx, func(ctx context.Context) { e.Watch(ctx, f.pxe.TFTPLoad) })
	log.Info("listening", "address", f.url)
	daemon.Notify(env, log, node.Ready)
	clean.Run(ctx, func(running context.Context) {
		running, cancel := context.WithCancel(running)
		defer context.AfterFunc(ctx, cancel)() // an edge that is told to end answers nobody new
		daemon.Watchdog(running, env, log, daemon.Answers("http://"+listener.Addr().String()+"/healthz"))
	})
	return e.Serve(ctx, listener)
}
