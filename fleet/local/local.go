// Package local is the fleet of a host that is its own farm: what machines boot, what they do, and what they have read once,
// as records in the host's cache directory. Processes of the host take turns by locks beside them.
//
// It goes by the rules of packages fleet and taken, as the state of a farm does. It knows no subnets with pools: whose an address
// is takes a farm.
package local

import (
	"context"

	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/fleet/boots"
	"github.com/kiln-farm/kiln/fleet/taken"
)

// tokenKeySize is the length of the key of boot tokens in bytes (kiln/v1/machine.proto).
const tokenKeySize = 32

var (
	// ErrStale: somebody else changed the intent first.
	ErrStale = errors.New("somebody else changed what machines boot meanwhile: look at kiln diff and apply again")
	// ErrSubnets: a host has none.
	ErrSubnets = errors.New("subnets need a farm, which keeps what is bound to whom: start one with kiln server or kiln coordinator, and name it with --farm")
)

// Room is what machines boot and what they do, as records in a cache directory that one process changes at a time.
type Room struct{ store *disk.Store }

// New is the room in a cache directory.
func New(store *disk.Store) *Room { return &Room{store} }

// Intent is what machines are to boot.
func (r *Room) Intent(ctx context.Context) (*kilnv1.Intent, error) {
	in := &kilnv1.Intent{}
	if err := record.Get(ctx, r.store, cache.IntentKey(), in); err != nil && !errors.Is(err, cache.ErrNotFound) {
		return nil, err
	}
	return in, nil
}

// Change applies a change, or says why it makes no sense.
func (r *Room) Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) ([]string, error) {
	if len(c.GetSubnets())+len(c.GetRemoveSubnets()) > 0 {
		return nil, ErrSubnets
	}
	unlock, err := lockFile(r.intentLock())
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, err := r.Intent(ctx)
	if err != nil {
		return nil, err
	}
	if c.GetBase() != now.GetRevision() {
		return nil, ErrStale
	}
	return r.apply(ctx, now, c, dryRun)
}

// apply makes a change of what is there now; who calls it has the lock.
func (r *Room) apply(ctx context.Context, now *kilnv1.Intent, c *kilnv1.RoomCommand, dryRun bool) (problems []string, err error) {
	next := fleet.Apply(now, c)
	if problems := fleet.CheckChange(now, next).Sentences(); len(problems) > 0 || dryRun {
		return problems, nil
	}
	if len(next.TokenKey) == 0 {
		next.TokenKey = make([]byte, tokenKeySize)
		if _, err := rand.Read(next.TokenKey); err != nil {
			return nil, err
		}
	}
	return nil, record.Put(ctx, r.store, cache.IntentKey(), next)
}

// followPoll is how often a cache directory is looked through for what machines did.
const followPoll = 500 * time.Millisecond

// Boots calls on for each event of a machine, or of all, the oldest first, and with follow for those to come until ctx ends.
func (r *Room) Boots(ctx context.Context, machine string, follow bool, on func(*kilnv1.BootEvent) error) error {
	told := map[string]bool{}
	for {
		events, err := r.boots(ctx, machine)
		if err != nil {
			return err
		}
		now := map[string]bool{}
		for _, e := range events {
			id := fmt.Sprint(e.GetMac(), e.GetMachine(), e.GetUnixMs(), e.GetStage(), e.GetEdge(), e.GetDetail())
			if now[id] = true; told[id] {
				continue
			}
			if err := on(e); err != nil {
				return err
			}
		}
		if told = now; !follow {
			return nil
		}
		select {
		case <-time.After(followPoll):
		case <-ctx.Done():
			return nil
		}
	}
}

// boots are the events of a machine, or of all.
func (r *Room) boots(ctx context.Context, machine string) ([]*kilnv1.BootEvent, error) {
	keys := []cache.Key{cache.BootKey(machine)}
	if machine == "" {
		keys = nil
		if err := r.store.List(ctx, cache.BootPrefix, func(e cache.Entry) error {
			keys = append(keys, e.Key)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	var all []*kilnv1.BootEvent
	for _, key := range keys {
		kept := &kilnv1.BootRecord{}
		if err := record.Get(ctx, r.store, key, kept); err != nil && !errors.Is(err, cache.ErrNotFound) {
			return nil, err
		}
		all = append(all, kept.GetEvents()...)
	}
	return boots.Merge(all, nil), nil
}

func (r *Room) intentLock() string { return filepath.Join(r.store.Path(), "intent.lock") }

// lockFile waits for a lock that ends with its process.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Report keeps what machines do in the cache directory, and forgets what they were to boot once.
func (r *Room) Report(ctx context.Context, events []*kilnv1.BootEvent) error {
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
			if err := r.booted(ctx, e.GetMachine(), e.GetOnce()); err != nil {
				return err
			}
		}
	}
	return nil
}

// booted forgets what a machine was to boot once, when it has.
func (r *Room) booted(ctx context.Context, name, once string) error {
	unlock, err := lockFile(r.intentLock())
	if err != nil {
		return err
	}
	defer unlock()
	now, err := r.Intent(ctx)
	if err != nil {
		return err
	}
	for _, m := range now.GetMachines() {
		if m.GetName() != name || m.GetBootOnce() != once {
			continue
		}
		m = proto.CloneOf(m)
		m.BootOnce = ""
		problems, err := r.apply(ctx, now, &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{m}}, false)
		if err == nil && len(problems) > 0 {
			err = errors.New(strings.Join(problems, "\n"))
		}
		return err
	}
	return nil
}

// keptBoots is how many events of a machine are kept.
const keptBoots = 500

// Take says whether a machine may read a document with secrets in this boot, and notes that it does.
func (r *Room) Take(ctx context.Context, c *kilnv1.TakeCommand) (fresh bool, err error) {
	unlock, err := lockFile(filepath.Join(r.store.Path(), "taken.lock"))
	if err != nil {
		return false, err
	}
	defer unlock()
	before := &kilnv1.SnapshotTaken{}
	if err := record.Get(ctx, r.store, cache.TakenKey(c.GetMachine()), before); err != nil && !errors.Is(err, cache.ErrNotFound) {
		return false, err
	}
	after, fresh := taken.Take(before, c, time.Now().UnixMilli())
	if !fresh {
		return false, nil
	}
	return true, record.Put(ctx, r.store, cache.TakenKey(c.GetMachine()), after)
}
