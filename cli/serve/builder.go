package serve

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/builder"
	"github.com/kiln-farm/kiln/builder/registry"
	"github.com/kiln-farm/kiln/cache/tiered"
	"github.com/kiln-farm/kiln/cli/embedded"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/image/plan"
	"github.com/kiln-farm/kiln/image/runners"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/internal/version"
)

type builderFlags struct {
	member.Flags
	daemon.StoreFlags
	daemon.MetricsFlags
	daemon.BusFlags
	slots              int
	classes, platforms []string
	teams              string
	deadline, grace    time.Duration
}

func NewBuilder(env ui.Env) *cobra.Command {
	var f builderFlags
	cmd := &cobra.Command{
		Use:   "builder --data DIR --join HOST:PORT --token TOKEN",
		Short: "Run a builder: it runs the steps of a farm's builds",
		Long: `Run steps for a farm. The first time it joins with a token; after that --data is all it needs. Where the bus and the
shared cache are it learns from the coordinators; credentials for S3 it takes from the environment, like any S3 client.
SIGTERM drains: no new steps begin, running ones end; a second signal ends at once.`,
		Example: `  kiln builder --data /var/lib/kiln --join kiln1:7300 --token-file token.txt
  kiln builder --data /var/lib/kiln --slots 8 --class big --teams /etc/kiln/teams`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runBuilder(cmd.Context(), env, &f) },
	}
	flags := cmd.Flags()
	f.Flags.Add(flags)
	f.AddMetrics(flags)
	f.StoreFlags.Add(flags, "URL of the farm's shared cache (default: what the coordinators say)")
	f.BusFlags.Add(flags, "URLs of the farm's NATS, when it needs a password (default: what the coordinators say)")
	flags.IntVar(&f.slots, "slots", max(2, runtime.NumCPU()), "steps at a time")
	flags.StringSliceVar(&f.classes, "class", nil, "resource class that it offers; repeatable")
	flags.StringSliceVar(&f.platforms, "platform", []string{"linux/" + runtime.GOARCH}, "platform that it can run programs of; repeatable")
	flags.StringVar(&f.teams, "teams", "", "directory with TEAM/config.json (docker's logins) and TEAM/mirrors.json")
	flags.DurationVar(&f.deadline, "step-deadline", 0, "longest time for one step (default: what the leader says)")
	flags.DurationVar(&f.grace, "grace", 0, "how long running steps may go on at the end (default 30s)")
	return cmd
}

func (f *builderFlags) check() error {
	if f.slots < 1 {
		return ui.Usagef("--slots %d: it is how many steps run at a time, one or more", f.slots)
	}
	for i, p := range f.platforms {
		os, arch, _ := strings.Cut(p, "/")
		if os != "linux" {
			return ui.Usagef("--platform %q: it is linux/ and an architecture, such as linux/arm64", p)
		}
		arch, err := ui.ParseArch("--platform", arch)
		if err != nil {
			return err
		}
		f.platforms[i] = "linux/" + arch
	}
	for _, c := range f.classes {
		if node.CheckID(c) != nil {
			return ui.Usagef("--class %q: a class has letters, digits, dots, dashes and underscores", c)
		}
	}
	return nil
}

func runBuilder(ctx context.Context, env ui.Env, f *builderFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	m, err := f.Flags.Open(ctx, env, pki.RoleBuilder, member.JoinPatience)
	if err != nil {
		return err
	}
	var clean daemon.Closers
	defer func() { err = errors.Join(err, clean.Close()) }()
	clean.Add(m.Close)
	log := env.Logger(slog.LevelInfo)
	if err := f.Measure(ctx, log, &clean); err != nil {
		return err
	}
	place, err := m.Locate(ctx, log)
	if err != nil {
		return err
	}
	url := f.Store
	if url == "" {
		url = place.Store
	}
	if url == "" && f.Cache == "" {
		return ui.Usagef("farm %s has no shared cache: start its coordinators with --store s3://BUCKET, or name with --cache a directory that they and all builders share", place.Farm)
	}
	store, err := f.StoreFlags.Open(ctx, m.Data, url, false, log)
	if err != nil {
		return err
	}
	clean.Add(store.Close)
	conn, err := f.dialBus(ctx, m, place, log)
	if err != nil {
		return err
	}
	clean.Add(func() error { conn.Close(); return nil })
	b, err := f.build(m, store, conn, log)
	if err != nil {
		return err
	}
	clean.Run(ctx, func(ctx context.Context) { m.KeepValid(ctx, log) })
	clean.Run(ctx, func(ctx context.Context) {
		m.Follow(ctx, log, func(p node.Place) { f.moved(conn, p, log) })
	})
	log.Info("ready", "builder", m.ID, "farm", place.Farm, "slots", f.slots, "bus", conn.ConnectedUrlRedacted(), "store", url)
	daemon.Notify(env, log, node.Ready)
	context.AfterFunc(ctx, func() {
		log.Info("draining: running steps end, no new ones begin")
		daemon.Notify(env, log, node.Stopping)
	})
	return b.Run(ctx)
}

func (f *builderFlags) dialBus(ctx context.Context, m *member.Member, place node.Place, log *slog.Logger) (*nats.Conn, error) {
	if f.List() == nil && len(place.Buses) == 0 {
		return nil, ui.Usagef("farm %s told no bus: name its NATS with --nats", place.Farm)
	}
	return f.Dial(ctx, bus.DialOptions{URLs: place.Buses, Name: m.ID, TLS: m.Certificate.ClientTLS(), Inbox: bus.Inbox(m.ID)}, log)
}

func (f *builderFlags) build(m *member.Member, store *tiered.Cache, conn *nats.Conn, log *slog.Logger) (*builder.Builder, error) {
	reg, err := registry.New(registry.Config{Store: store, Blobs: store, Teams: f.teams, Log: log})
	if err != nil {
		return nil, err
	}
	all := maps.Clone(runners.All())
	all[step.Plan] = plan.Runner{}
	all[step.Resolve] = reg
	return builder.New(builder.Config{
		Farm: m.Certificate.Identity().Farm, ID: m.ID, Store: store, Blobs: store, Bus: conn, Slots: f.slots, Runners: all, Fetcher: reg,
		Grace: f.grace, Classes: f.classes, Platforms: f.platforms, Version: version.String(), StepDeadline: f.deadline, Room: func() error { return embedded.Room(f.Dir(m.Data)) }, Log: log,
	})
}

// moved follows the farm's buses to where they are now.
func (f *builderFlags) moved(conn *nats.Conn, p node.Place, log *slog.Logger) {
	if f.List() != nil || len(p.Buses) == 0 {
		return
	}
	if err := conn.SetServerPool(p.Buses); err != nil {
		log.Warn("the bus could not be followed", "buses", p.Buses, "error", err)
	}
}
