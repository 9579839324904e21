package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/fleet/boots"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// tokenKeySize is the length of the key of boot tokens in bytes (kiln/v1/machine.proto).
const tokenKeySize = 32

// rooms is where it is kept what machines boot: at a farm, or in the cache of a host that is its own farm.
type rooms interface {
	Intent(ctx context.Context) (*kilnv1.Intent, error)
	// Change applies a change, or says why it makes no sense.
	Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) (problems []string, err error)
	Boots(ctx context.Context, machine string, follow bool, on func(*kilnv1.BootEvent) error) error
}

// openRooms opens that of the flags, with the blobs that go with it.
func openRooms(ctx context.Context, env ui.Env, flags *access.Flags) (rooms, *history.Builds, error) {
	flags.Fill(env)
	if flags.Farm != "" {
		h, err := history.OpenFarm(ctx, env, flags)
		if err != nil {
			return nil, nil, err
		}
		return farmRooms{h.Farm}, h, nil
	}
	store, err := disk.Open(flags.Cache)
	if err != nil {
		return nil, nil, ui.Usagef("%w", err)
	}
	h, err := history.OpenCache(flags)
	return &localRooms{store}, h, err
}

// errStale: somebody else changed the intent first. It says nothing itself.
var errStale = errors.New("")

// farmRooms is a farm's.
type farmRooms struct{ farm *client.Farm }

func (r farmRooms) Intent(ctx context.Context) (*kilnv1.Intent, error) { return r.farm.Intent(ctx) }

func (r farmRooms) Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) ([]string, error) {
	res, err := client.Ask(ctx, r.farm, "change what machines boot", r.farm.Room.Change, &kilnv1.ChangeRequest{Change: c, DryRun: dryRun})
	var refused *client.APIError
	if errors.As(err, &refused) && refused.Code == connect.CodeAborted {
		err = fmt.Errorf("%w%w", errStale, err)
	}
	return res.GetProblems(), err
}

func (r farmRooms) Boots(ctx context.Context, machine string, follow bool, on func(*kilnv1.BootEvent) error) error {
	stream, err := r.farm.Room.Boots(ctx, connect.NewRequest(&kilnv1.BootsRequest{Machine: machine, Follow: follow}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if err := on(stream.Msg().GetEvent()); err != nil {
			return err
		}
	}
	return stream.Err()
}

// localRooms is a record in a cache directory, changed by one process at a time.
type localRooms struct{ store *disk.Store }

func (r *localRooms) Intent(ctx context.Context) (*kilnv1.Intent, error) {
	in := &kilnv1.Intent{}
	if err := record.Get(ctx, r.store, cache.IntentKey(), in); err != nil && !errors.Is(err, cache.ErrNotFound) {
		return nil, err
	}
	return in, nil
}

func (r *localRooms) Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) ([]string, error) {
	if len(c.GetSubnets())+len(c.GetRemoveSubnets()) > 0 {
		return nil, ui.Usagef("subnets need a farm, which keeps what is bound to whom: start one with kiln server or kiln coordinator, and name it with --farm")
	}
	unlock, err := lockFile(filepath.Join(r.store.Path(), "intent.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, err := r.Intent(ctx)
	if err != nil {
		return nil, err
	}
	if c.GetBase() != now.GetRevision() {
		return nil, ui.Usagef("%wsomebody else changed what machines boot meanwhile: look at kiln diff and apply again", errStale)
	}
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

func (r *localRooms) Boots(ctx context.Context, machine string, follow bool, on func(*kilnv1.BootEvent) error) error {
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
func (r *localRooms) boots(ctx context.Context, machine string) ([]*kilnv1.BootEvent, error) {
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
