package serve

import (
	"context"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/serve/netboot"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/farmlink"
	"github.com/kiln-farm/kiln/edge/intent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

type edgeFlags struct {
	member.Flags
	daemon.StoreFlags
	daemon.MetricsFlags
	listen, url string
	url6        string // over IPv6; empty: not
	peers       []string
	inFlight    string // bytes
	transfers   int
	pxe         netboot.Flags
}

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
	pools   *farmlink.Pool // that binds addresses; nil: there is no farm
	follow  func(ctx context.Context, intents *intent.Store, others func([]string))
}
