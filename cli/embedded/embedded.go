package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/kiln-farm/kiln/builder"
	"github.com/kiln-farm/kiln/builder/registry"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/coordinator"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
	"github.com/kiln-farm/kiln/image/plan"
	"github.com/kiln-farm/kiln/image/runners"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/version"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	farmName = "kiln"
	// minSlots: one step waits for the network or the disk while another one computes.
	minSlots = 2
)

// Config of a farm in this process.
type Config struct {
	Cache   *disk.Store
	DataDir string        // of the durable log; empty: everything but the cache is in memory
	Builder bool          // with a builder inside
	Grace   time.Duration // for running steps when the farm is closed; 0: the builder's default
	Careful bool          // take no work when the disk is nearly full: for farms that outlive a build
	Log     *slog.Logger
	Unpack  *kilnv1.UnpackLimits // what an image may unpack to; nil: what is usual
	// DNSKeys sign what subnets have published in DNS; nil: there are none.
	DNSKeys *nsupdate.Keys
}

// Farm is a running farm.
type Farm struct {
	bus         *bus.Server
	conns       []*nats.Conn
	coordinator *coordinator.Coordinator
	memory      *memory

	drain   context.CancelFunc
	work    sync.WaitGroup
	workErr error // of the builder, once work is done
}

// Start starts a farm and returns when it takes work.
func Start(ctx context.Context, cfg Config) (*Farm, error) {
	f := &Farm{drain: func() {}}
	err := f.start(ctx, cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the farm in this process: %w", err), f.Close())
	}
	return f, nil
}

func (f *Farm) start(ctx context.Context, cfg Config) (err error) {
	if f.bus, err = bus.Start(bus.Options{}); err != nil {
		return err
	}
	conn, err := f.connect("coordinator")
	if err != nil {
		return err
	}
	f.coordinator, err = coordinator.New(coordinator.Config{
		Farm: farmName, Version: version.String(), Store: cfg.Cache, Blobs: cfg.Cache, Bus: conn, DataDir: cfg.DataDir, Log: cfg.Log,
		DNSKeys: cfg.DNSKeys,
	})
	if err != nil {
		return err
	}
	f.memory = serveMemory(f.coordinator.Handler())
	if err := f.coordinator.Ready(ctx); err != nil {
		return err
	}
	if cfg.Builder { // after there is a leader: a builder that asks too early waits before it asks again
		return f.startBuilder(ctx, cfg)
	}
	return nil
}

// startBuilder starts a builder that works until Close, whatever becomes of ctx: what it is doing when the user
// stops the command is ended by the farm's cancel.
func (f *Farm) startBuilder(ctx context.Context, cfg Config) error {
	conn, err := f.connect("builder")
	if err != nil {
		return err
	}
	reg, err := registry.New(registry.Config{Store: cfg.Cache, Blobs: cfg.Cache, Log: cfg.Log})
	if err != nil {
		return err
	}
	all := maps.Clone(runners.All())
	all[step.Plan] = plan.Runner{}
	all[step.Resolve] = reg
	var free func() error
	if cfg.Careful {
		free = func() error { return Room(cfg.Cache.Path()) }
	}
	b, err := builder.New(builder.Config{
		Farm: farmName, ID: "here-" + uuid.NewString()[:8], Store: cfg.Cache, Blobs: cfg.Cache, Bus: conn,
		Slots: max(minSlots, runtime.NumCPU()), Runners: all, Fetcher: reg, Grace: cfg.Grace, Room: free, Unpack: cfg.Unpack, Log: cfg.Log,
	})
	if err != nil {
		return err
	}
	ctx, f.drain = context.WithCancel(context.WithoutCancel(ctx))
	f.work.Go(func() { f.workErr = b.Run(ctx) })
	return nil
}

func (f *Farm) connect(name string) (*nats.Conn, error) {
	conn, err := f.bus.Connect(name)
	if err == nil {
		f.conns = append(f.conns, conn)
	}
	return conn, err
}

// Handler is the farm's API.
func (f *Farm) Handler() http.Handler { return f.coordinator.Handler() }

// Client reaches the API inside the process, at any host name.
func (f *Farm) Client() *http.Client { return f.memory.client }

// Close drains the builder and ends everything.
func (f *Farm) Close() error {
	f.drain()
	f.work.Wait()
	errs := []error{f.workErr}
	if f.memory != nil {
		errs = append(errs, f.memory.close())
	}
	if f.coordinator != nil {
		errs = append(errs, f.coordinator.Close())
	}
	for _, conn := range f.conns {
		conn.Close()
	}
	if f.bus != nil {
		f.bus.Close()
	}
	return errors.Join(errs...)
}
