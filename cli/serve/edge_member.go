package serve

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/farmlink"
	"github.com/kiln-farm/kiln/internal/pki"
)

// member is the farm that the edge is part of.
func (f *edgeFlags) member(ctx context.Context, env ui.Env, log *slog.Logger, clean *daemon.Closers) (intentSource, error) {
	m, err := f.Flags.Open(ctx, env, pki.RoleEdge, member.JoinPatience)
	if err != nil {
		return intentSource{}, err
	}
	clean.Add(m.Close)
	place, err := m.Locate(ctx, log)
	if err != nil {
		return intentSource{}, err
	}
	url := f.Store
	if url == "" {
		url = place.Store
	}
	if url == "" && f.Cache == "" {
		return intentSource{}, ui.Usagef("farm %s has no shared cache: start its coordinators with --store s3://BUCKET, or name with --cache a directory that they and all edges share", place.Farm)
	}
	f.Later = true
	store, err := f.StoreFlags.Open(ctx, m.Data, url, false, log)
	if err != nil {
		return intentSource{}, err
	}
	clean.Add(store.Close)
	clean.Run(ctx, func(ctx context.Context) { m.KeepValid(ctx, log) })
	clean.Run(ctx, func(ctx context.Context) { m.Follow(ctx, log, func(node.Place) {}) })
	link := farmlink.New(farmlink.Config{
		Edge: m.ID, URL: f.url, URL6: f.url6, Bindings: filepath.Join(m.Path(), "bindings"), Coordinators: m.Coordinators, Log: log,
		Dial: func(urls []string) (*farmlink.Conn, error) {
			c, err := client.Dial(strings.Join(urls, ","), client.Options{TLS: m.Certificate.ClientTLS(client.Protocols()...)})
			if err != nil {
				return nil, err
			}
			return &farmlink.Conn{Room: c.Room, Close: c.Close}, nil
		},
	})
	clean.Add(link.Close)
	return intentSource{
		name: m.ID, file: filepath.Join(m.Path(), "intent"), store: store, blobs: store, once: link,
		pools: link.Pool(), report: link.Report, follow: link.FollowIntent,
	}, nil
}
