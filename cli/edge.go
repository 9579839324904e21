package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/farm"
	"github.com/kiln-farm/kiln/cli/node"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

type edgeFlags struct {
	nodeFlags
	storeFlags
	listen, url string
	peers       []string
	pxe         pxeFlags
}

func newEdge(env Env) *cobra.Command {
	var f edgeFlags
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Boot machines from the network",
		Long: `Boot machines from the network: iPXE scripts, kernels and configuration over HTTP, and with --interface DHCP and TFTP
for their firmware. Which machines there are, and what they boot, says kiln apply.

With --data the edge is part of a farm, which it joins with a token the first time. It keeps what it saw last, and boots
machines from that when the farm and its cache are away. Without, it serves a cache directory of this host.`,
		Example: `  kiln edge --listen 127.0.0.1:7380
  kiln edge --data /var/lib/kiln/edge --join kiln1:7300 --token-file token.txt --interface eth1
  kiln edge --interface eth1 --dhcp proxy`,
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runEdge(cmd.Context(), env, &f) },
	}
	flags := cmd.Flags()
	f.nodeFlags.add(flags)
	f.storeFlags.add(flags, "URL of the farm's shared cache (default: what the coordinators say)")
	flags.StringVar(&f.listen, "listen", "", "address for HTTP (default 127.0.0.1:7380, or that of --interface)")
	flags.StringVar(&f.url, "url", "", "URL under which machines reach this edge (default: where it listens)")
	flags.StringSliceVar(&f.peers, "peer", nil, "URL of another edge, at which a boot may go on (default: those of the farm)")
	f.pxe.add(flags)
	return cmd
}

func runEdge(ctx context.Context, env Env, f *edgeFlags) (err error) {
	log := env.logger(slog.LevelInfo)
	var clean closers
	defer func() { err = errors.Join(err, clean.close()) }()
	if err := f.pxe.check(); err != nil {
		return err
	}
	address, err := f.pxe.address(f.listen)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, address)
	if err != nil {
		return err
	}
	clean.add(func() error { _ = listener.Close(); return nil }) // the server has closed it
	if f.url == "" {
		f.url = "http://" + listener.Addr().String()
	}
	var source intentSource
	if f.data == "" {
		source, err = f.local(env, log)
	} else {
		source, err = f.member(ctx, env, log, &clean)
	}
	if err != nil {
		return err
	}
	intents, err := edge.OpenIntents(source.file, log)
	if err != nil {
		return err
	}
	events := edge.NewEvents(source.name, source.report, log)
	e, err := edge.New(edge.Config{Store: source.store, Blobs: source.blobs, Log: log, Intents: intents, Events: events, URL: f.url})
	if err != nil {
		return err
	}
	e.SetOthers(f.peers)
	clean.run(ctx, events.Run)
	clean.run(ctx, func(ctx context.Context) { source.follow(ctx, intents, e.SetOthers) })
	clean.run(ctx, e.Prefetch)
	if err := f.pxe.serve(ctx, e, log, &clean); err != nil {
		return err
	}
	log.Info("listening", "address", f.url)
	env.notify(log, node.Ready)
	return e.Serve(ctx, listener)
}

// intentSource is where an edge learns what machines boot, and tells what they do.
type intentSource struct {
	name   string
	file   string // that keeps the intent
	store  cache.Store
	blobs  cache.Blobs
	report func(ctx context.Context, events []*kilnv1.BootEvent) error
	follow func(ctx context.Context, intents *edge.Intents, others func([]string))
}

// localPoll is how often an edge of one host looks for changes.
const localPoll = 500 * time.Millisecond

// local is the cache directory of this host.
func (f *edgeFlags) local(env Env, log *slog.Logger) (intentSource, error) {
	dir := f.cache
	if dir == "" {
		dir = env.cacheDir()
	}
	store, err := cache.OpenDir(dir)
	if err != nil {
		return intentSource{}, usagef("%w", err)
	}
	room := &localRooms{store}
	return intentSource{
		name: "edge", store: store, blobs: store,
		report: room.report,
		follow: func(ctx context.Context, intents *edge.Intents, _ func([]string)) {
			ticker := time.NewTicker(localPoll)
			defer ticker.Stop()
			for {
				in, err := room.Intent(ctx)
				if err != nil && ctx.Err() == nil {
					log.Warn("what machines boot cannot be read", "error", err)
				} else if err == nil && in.GetRevision() != intents.Revision() {
					intents.Set(in)
				}
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		},
	}, nil
}

// member is the farm that the edge is part of.
func (f *edgeFlags) member(ctx context.Context, env Env, log *slog.Logger, clean *closers) (intentSource, error) {
	m, err := f.nodeFlags.open(ctx, env, pki.RoleEdge, joinPatience)
	if err != nil {
		return intentSource{}, err
	}
	clean.add(m.Close)
	place, err := m.locate(ctx, log)
	if err != nil {
		return intentSource{}, err
	}
	url := f.store
	if url == "" {
		url = place.Store
	}
	if url == "" && f.cache == "" {
		return intentSource{}, usagef("farm %s has no shared cache: start its coordinators with --store s3://BUCKET, or name with --cache a directory that they and all edges share", place.Farm)
	}
	f.later = true
	store, err := f.storeFlags.open(ctx, m.Data, url, false, log)
	if err != nil {
		return intentSource{}, err
	}
	clean.add(store.Close)
	clean.run(ctx, func(ctx context.Context) { m.keepValid(ctx, log) })
	clean.run(ctx, func(ctx context.Context) { m.follow(ctx, log, func(node.Place) {}) })
	dial := func() (*farm.Farm, error) {
		return farm.Dial(strings.Join(m.coordinators(), ","), farm.Options{TLS: m.credentials.ClientTLS(farm.Protocols()...)})
	}
	return intentSource{
		name: m.id, file: filepath.Join(m.Path(), "intent"), store: store, blobs: store,
		report: func(ctx context.Context, events []*kilnv1.BootEvent) error {
			client, err := dial()
			if err != nil {
				return err
			}
			defer client.Close()
			_, err = client.Room.Report(ctx, connect.NewRequest(&kilnv1.ReportRequest{Edge: m.id, Events: events}))
			return err
		},
		follow: func(ctx context.Context, intents *edge.Intents, others func([]string)) {
			followIntent(ctx, dial, m.id, f.url, intents, others, log)
		},
	}, nil
}

const (
	intentFirst = 100 * time.Millisecond
	intentMost  = 5 * time.Second
)

// followIntent takes every new intent, over as many connections as it takes.
func followIntent(ctx context.Context, dial func() (*farm.Farm, error), name, url string, intents *edge.Intents, others func([]string), log *slog.Logger) {
	wait := intentFirst
	for ctx.Err() == nil {
		err := watchIntent(ctx, dial, name, url, intents, func(urls []string) {
			wait = intentFirst
			others(urls)
		})
		if ctx.Err() != nil {
			return
		}
		log.Info("the farm does not tell what machines boot now; what it told last holds", "error", err, "revision", intents.Revision())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, intentMost)
	}
}

func watchIntent(ctx context.Context, dial func() (*farm.Farm, error), name, url string, intents *edge.Intents, others func([]string)) error {
	client, err := dial()
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.Room.WatchIntent(ctx, connect.NewRequest(&kilnv1.WatchIntentRequest{Revision: intents.Revision(), Edge: name, Url: url}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if in := stream.Msg().GetIntent(); in != nil {
			intents.Set(in)
		}
		if edges := stream.Msg().GetEdges(); edges != nil {
			var urls []string
			for _, e := range edges {
				urls = append(urls, e.GetUrl())
			}
			others(urls)
		}
	}
	return fmt.Errorf("the connection ended: %w", stream.Err())
}

// report keeps what machines do in the cache directory, and forgets what they were to boot once.
func (r *localRooms) report(ctx context.Context, events []*kilnv1.BootEvent) error {
	byMachine := map[string][]*kilnv1.BootEvent{}
	for _, e := range events {
		name := e.GetMachine()
		if name == "" {
			name = e.GetMac()
		}
		byMachine[name] = append(byMachine[name], e)
	}
	for name, more := range byMachine {
		if name == "" {
			continue
		}
		record := &kilnv1.BootRecord{}
		if err := cache.GetRecord(ctx, r.store, cache.BootKey(name), record); err != nil && !errors.Is(err, cache.ErrNotFound) {
			return err
		}
		all := append(record.GetEvents(), more...)
		if err := cache.PutRecord(ctx, r.store, cache.BootKey(name), &kilnv1.BootRecord{Events: all[max(0, len(all)-keptBoots):]}); err != nil {
			return err
		}
		for _, e := range more {
			if e.GetOnce() == "" {
				continue
			}
			if err := changeMachine(ctx, r, e.GetMachine(), func(m *kilnv1.Machine) {
				if m.GetBootOnce() == e.GetOnce() {
					m.BootOnce = ""
				}
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// keptBoots is how many events of a machine are kept.
const keptBoots = 500

// edgePort is where edges listen.
const edgePort = "7380"

// interfaceAddress is the first IPv4 address of an interface.
func interfaceAddress(name string) (net.IP, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, usagef("--interface %s: there is no such interface", name)
	}
	addresses, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP.To4(), nil
		}
	}
	return nil, usagef("--interface %s: it has no IPv4 address, from which machines could boot: give it one", name)
}
