package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/node"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// intentSource is where an edge learns what machines boot, and tells what they do.
type intentSource struct {
	name   string
	file   string // that keeps the intent
	store  cache.Store
	blobs  cache.Blobs
	report func(ctx context.Context, events []*kilnv1.BootEvent) error
	once   config.Once
	// stopped are boots that went no further; nil: somebody else watches for them.
	stopped func() []*kilnv1.BootEvent
	pools   *farmPool // that binds addresses; nil: there is no farm
	follow  func(ctx context.Context, intents *intent.Store, others func([]string))
}

// member is the farm that the edge is part of.
func (f *edgeFlags) member(ctx context.Context, env ui.Env, log *slog.Logger, clean *closers) (intentSource, error) {
	m, err := f.Flags.Open(ctx, env, pki.RoleEdge, member.JoinPatience)
	if err != nil {
		return intentSource{}, err
	}
	clean.add(m.Close)
	place, err := m.Locate(ctx, log)
	if err != nil {
		return intentSource{}, err
	}
	url := f.store
	if url == "" {
		url = place.Store
	}
	if url == "" && f.cache == "" {
		return intentSource{}, ui.Usagef("farm %s has no shared cache: start its coordinators with --store s3://BUCKET, or name with --cache a directory that they and all edges share", place.Farm)
	}
	f.later = true
	store, err := f.storeFlags.open(ctx, m.Data, url, false, log)
	if err != nil {
		return intentSource{}, err
	}
	clean.add(store.Close)
	clean.run(ctx, func(ctx context.Context) { m.KeepValid(ctx, log) })
	clean.run(ctx, func(ctx context.Context) { m.Follow(ctx, log, func(node.Place) {}) })
	dial := func() (*client.Farm, error) {
		return client.Dial(strings.Join(m.Coordinators(), ","), client.Options{TLS: m.Certificate.ClientTLS(client.Protocols()...)})
	}
	link := &farmLink{dial: dial}
	clean.add(link.close)
	return intentSource{
		name: m.ID, file: filepath.Join(m.Path(), "intent"), store: store, blobs: store, once: farmOnce{link},
		pools: newFarmPool(m, clean),
		report: func(ctx context.Context, events []*kilnv1.BootEvent) error {
			return link.do(func(client *client.Farm) error {
				_, err := client.Room.Report(ctx, connect.NewRequest(&kilnv1.ReportRequest{Edge: m.ID, Events: events}))
				return err
			})
		},
		follow: func(ctx context.Context, intents *intent.Store, others func([]string)) {
			followIntent(ctx, dial, &kilnv1.WatchIntentRequest{Edge: m.ID, Url: f.url, Url6: f.url6}, intents, others, log)
		},
	}, nil
}

// farmLink is a connection to the farm that is made anew after a call that failed: coordinators come and go.
type farmLink struct {
	dial func() (*client.Farm, error)

	mu  sync.Mutex // guards now
	now *client.Farm
}

func (l *farmLink) do(call func(*client.Farm) error) error {
	l.mu.Lock()
	client := l.now
	l.mu.Unlock()
	if client == nil {
		var err error
		if client, err = l.dial(); err != nil {
			return err
		}
	}
	err := call(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && l.now == client:
		l.now = nil
		client.Close()
	case err == nil && l.now == nil:
		l.now = client
	case l.now != client:
		client.Close()
	}
	return err
}

// drop has the next call made on another connection. Calls that are under way on this one end as they would.
func (l *farmLink) drop(client *client.Farm) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == client {
		l.now = nil
		client.Close()
	}
}

func (l *farmLink) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.now.Close()
	}
	return nil
}

// farmOnce asks the farm what machines have read.
type farmOnce struct{ link *farmLink }

// Take implements config.Once. It asks again while the farm changes leaders, until ctx ends.
func (o farmOnce) Take(ctx context.Context, machine string, boot config.BootID, what string) (fresh bool, err error) {
	c := takeCommand(machine, boot, what)
	req := &kilnv1.TakeRequest{Machine: c.GetMachine(), Boot: c.GetBoot(), Document: c.GetDocument(), Request: c.GetRequest()}
	for {
		err = o.link.do(func(client *client.Farm) error {
			try, cancel := context.WithTimeout(ctx, takeTry)
			defer cancel()
			res, err := client.Room.Take(try, connect.NewRequest(req))
			if err == nil {
				fresh = res.Msg.GetFresh()
			}
			return err
		})
		if err == nil || connect.CodeOf(err) == connect.CodeInvalidArgument {
			return fresh, err
		}
		select {
		case <-time.After(takeAgain):
		case <-ctx.Done():
			return false, err
		}
	}
}

const (
	takeTry   = 2 * time.Second
	takeAgain = 200 * time.Millisecond
)

// takeCommand is a machine's request for a document with secrets. It has a number of its own, so that it may be repeated.
func takeCommand(machine string, boot config.BootID, what string) *kilnv1.TakeCommand {
	return &kilnv1.TakeCommand{Machine: machine, Boot: boot.String(), Document: what, Request: rand.Text()}
}

const (
	intentFirst = 100 * time.Millisecond
	intentMost  = 5 * time.Second
)

// followIntent takes every new intent, over as many connections as it takes.
func followIntent(ctx context.Context, dial func() (*client.Farm, error), self *kilnv1.WatchIntentRequest, intents *intent.Store, others func([]string), log *slog.Logger) {
	wait := intentFirst
	for ctx.Err() == nil {
		err := watchIntent(ctx, dial, self, intents, func(urls []string) {
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

func watchIntent(ctx context.Context, dial func() (*client.Farm, error), self *kilnv1.WatchIntentRequest, intents *intent.Store, others func([]string)) error {
	client, err := dial()
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.Room.WatchIntent(ctx, connect.NewRequest(&kilnv1.WatchIntentRequest{Revision: intents.Revision(), Edge: self.GetEdge(), Url: self.GetUrl(), Url6: self.GetUrl6()}))
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
				if e.GetUrl6() != "" && e.GetUrl6() != e.GetUrl() {
					urls = append(urls, e.GetUrl6())
				}
			}
			others(urls)
		}
	}
	return fmt.Errorf("the connection ended: %w", stream.Err())
}
