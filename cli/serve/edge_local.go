package serve

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/timeline"
	"github.com/kiln-farm/kiln/fleet/boots"
	"github.com/kiln-farm/kiln/fleet/local"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// localPoll is how often an edge of one host looks for changes.
const localPoll = 500 * time.Millisecond

// local is the cache directory of this host.
func (f *edgeFlags) local(env ui.Env, log *slog.Logger) (intentSource, error) {
	dir := f.Cache
	if dir == "" {
		dir = env.CacheDir()
	}
	store, err := disk.Open(dir)
	if err != nil {
		return intentSource{}, ui.Usagef("%w", err)
	}
	room := local.New(store)
	var mu sync.Mutex // guards watch
	var watch boots.Watch
	return intentSource{
		name: "edge", store: store, blobs: store,
		once: localOnce{room},
		report: func(ctx context.Context, events []*kilnv1.BootEvent) error {
			mu.Lock()
			watch.Add(events, time.Now().UnixMilli())
			mu.Unlock()
			return room.Report(ctx, events)
		},
		stopped: func() []*kilnv1.BootEvent {
			mu.Lock()
			defer mu.Unlock()
			return watch.Stopped(time.Now().UnixMilli())
		},
		follow: func(ctx context.Context, intents *intent.Store, _ func([]string)) {
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

// stoppedPoll is how often an edge of one host looks for boots that went no further.
const stoppedPoll = 5 * time.Second

func tellStopped(ctx context.Context, stopped func() []*kilnv1.BootEvent, events *timeline.Reporter) {
	ticker := time.NewTicker(stoppedPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, e := range stopped() {
			events.Add(e)
		}
	}
}

// localOnce is what machines read once, among the edges of this host.
type localOnce struct{ room *local.Room }

// Take implements config.Once.
func (o localOnce) Take(ctx context.Context, machine string, boot config.BootID, what string) (bool, error) {
	return o.room.Take(ctx, config.TakeCommand(machine, boot, what))
}
