package cli

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/timeline"
	"github.com/kiln-farm/kiln/fleet/boots"
	"github.com/kiln-farm/kiln/fleet/taken"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// localPoll is how often an edge of one host looks for changes.
const localPoll = 500 * time.Millisecond

// local is the cache directory of this host.
func (f *edgeFlags) local(env ui.Env, log *slog.Logger) (intentSource, error) {
	dir := f.cache
	if dir == "" {
		dir = env.CacheDir()
	}
	store, err := disk.Open(dir)
	if err != nil {
		return intentSource{}, ui.Usagef("%w", err)
	}
	room := &localRooms{store}
	var mu sync.Mutex // guards watch
	var watch boots.Watch
	return intentSource{
		name: "edge", store: store, blobs: store,
		once: room,
		report: func(ctx context.Context, events []*kilnv1.BootEvent) error {
			mu.Lock()
			watch.Add(events, time.Now().UnixMilli())
			mu.Unlock()
			return room.report(ctx, events)
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

// report keeps what machines do in the cache directory, and forgets what they were to boot once.
func (r *localRooms) report(ctx context.Context, events []*kilnv1.BootEvent) error {
	byMachine := map[string][]*kilnv1.BootEvent{}
	for _, e := range events {
		byMachine[boots.Machine(e)] = append(byMachine[boots.Machine(e)], e)
	}
	for name, more := range byMachine {
		if name == "" {
			continue
		}
		kept := &kilnv1.BootRecord{}
		if err := record.Get(ctx, r.store, cache.BootKey(name), kept); err != nil && !errors.Is(err, cache.ErrNotFound) {
			return err
		}
		kept.Events = boots.Latest(boots.Merge(kept.GetEvents(), more), keptBoots)
		if err := record.Put(ctx, r.store, cache.BootKey(name), kept); err != nil {
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

// Take implements config.Once among the edges of this host.
func (r *localRooms) Take(ctx context.Context, machine string, boot config.BootID, what string) (bool, error) {
	unlock, err := lockFile(filepath.Join(r.store.Path(), "taken.lock"))
	if err != nil {
		return false, err
	}
	defer unlock()
	before := &kilnv1.SnapshotTaken{}
	if err := record.Get(ctx, r.store, cache.TakenKey(machine), before); err != nil && !errors.Is(err, cache.ErrNotFound) {
		return false, err
	}
	after, fresh := taken.Take(before, takeCommand(machine, boot, what), time.Now().UnixMilli())
	if !fresh {
		return false, nil
	}
	return true, record.Put(ctx, r.store, cache.TakenKey(machine), after)
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
