package netboot

import (
	"context"
	"log/slog"

	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/edge/pool/probe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// pool makes what gives addresses out of pools, of either family; nil when this edge does not.
func (f *Flags) pool(ctx context.Context, e *edge.Edge, intents *intent.Store, log *slog.Logger, clean *daemon.Closers) *pool.Pool {
	if f.dhcp != "full" && f.v6.dhcp != "full" {
		return nil
	}
	if f.Pools == nil {
		said := false
		intents.OnChange(func(in *kilnv1.Intent) {
			if len(in.GetSubnets()) > 0 && !said {
				said = true
				log.Warn("subnets have pools, and this edge gives no addresses of them: that takes a farm, which says whose an address is. Join one with --data and --join, or give machines fixed addresses")
			}
		})
		return nil
	}
	cfg := pool.Config{Edge: f.Pools.Edge, Farm: f.Pools, File: f.Pools.File, Log: log, Tell: e.Machines().TellOf, Edges: e.Machines().Answering}
	if f.probe > 0 && f.dhcp == "full" {
		prober, err := probe.Open(f.probe)
		if err != nil {
			log.Warn("addresses are given without asking first whether somebody uses them", "error", err)
		} else {
			clean.Add(prober.Close)
			cfg.Prober = prober
		}
	}
	p := pool.New(cfg)
	stop := p.Measure()
	clean.Add(func() error { stop(); return nil })
	intents.OnChange(p.Set)
	clean.Run(ctx, p.Run)
	clean.Run(ctx, func(ctx context.Context) { f.Pools.Follow(ctx, p, log) })
	return p
}
