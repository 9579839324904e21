// Package links keeps sockets open on interfaces for servers that answer there: it reads packets from them, and opens them again
// when an interface went away and came back.
//
// What packets mean, and how sockets are opened, is its callers' business. It never holds a packet and never waits for an answer.
package links

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	watchEvery    = 5 * time.Second // how often a link is looked after
	receiveBuffer = 4 << 20         // bytes of the kernel's queue: some thousand machines that are switched on at once
)

// BadRead is how long to wait after a failed read, for example because the link is down.
const BadRead = 100 * time.Millisecond

// Link is an interface and the sockets on it. It may be closed while somebody reads.
type Link interface {
	Changed() bool // the sockets are on an interface that is no more
	Close()
}

// Keeper reads from the links of some interfaces.
type Keeper[L Link] struct {
	Protocol   string // for the log: "DHCPv6"
	Interfaces []string
	Open       func(name string) (L, error)
	// Readers are what a link's sockets are read by, each over and over again in a goroutine of its own: it receives one packet
	// into the buffer and has it dealt with. Its error says that none was received; net.ErrClosed ends all of the link.
	Readers func(l L) []func(buffer []byte) error
	Longest int // packet in bytes
	Log     *slog.Logger
}

// Start opens all links, or none. Run reads from them.
func (k Keeper[L]) Start() (run func(ctx context.Context), err error) {
	var all []L
	for _, name := range k.Interfaces {
		l, err := k.Open(name)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return func(ctx context.Context) {
		var keepers sync.WaitGroup
		for i, l := range all {
			keepers.Go(func() { k.keep(ctx, k.Interfaces[i], l) })
		}
		keepers.Wait()
	}, nil
}

// keep reads from an interface, also after it went away and came again, until ctx ends.
func (k Keeper[L]) keep(ctx context.Context, name string, l L) {
	for {
		k.read(ctx, l)
		for {
			if ctx.Err() != nil {
				return
			}
			var err error
			if l, err = k.Open(name); err == nil {
				k.Log.Info("answering "+k.Protocol+" again on an interface that has changed", "interface", name)
				break
			}
			k.Log.Warn("no "+k.Protocol+" on an interface for now", "interface", name, "error", err)
			Pause(ctx, watchEvery)
		}
	}
}

// read takes packets from a link until ctx ends or the link's sockets are of no use any more, and closes it.
func (k Keeper[L]) read(ctx context.Context, l L) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers sync.WaitGroup
	for _, receive := range k.Readers(l) {
		readers.Go(func() {
			defer cancel()
			buffer := make([]byte, k.Longest)
			for ctx.Err() == nil {
				switch err := receive(buffer); {
				case errors.Is(err, net.ErrClosed):
					return
				case err != nil:
					Pause(ctx, BadRead)
				}
			}
		})
	}
	for ctx.Err() == nil && !l.Changed() {
		Pause(ctx, watchEvery)
	}
	l.Close()
	readers.Wait()
}

// Pause waits, and no longer than ctx.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
