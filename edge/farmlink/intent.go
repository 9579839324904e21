package farmlink

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/edge/intent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// How long to wait before a stream that ended is opened again: longer each time.
const (
	againFirst = 100 * time.Millisecond
	againMost  = 5 * time.Second
)

// FollowIntent takes every new intent, over as many connections as it takes, and tells others the URLs of the farm's edges, until
// ctx ends.
func (l *Link) FollowIntent(ctx context.Context, intents *intent.Store, others func([]string)) {
	wait := againFirst
	for ctx.Err() == nil {
		err := l.watchIntent(ctx, intents, func(urls []string) {
			wait = againFirst
			others(urls)
		})
		if ctx.Err() != nil {
			return
		}
		l.cfg.Log.Info("the farm does not tell what machines boot now; what it told last holds", "error", err, "revision", intents.Revision())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, againMost)
	}
}

func (l *Link) watchIntent(ctx context.Context, intents *intent.Store, others func([]string)) error {
	client, err := l.calls.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.Room.WatchIntent(ctx, connect.NewRequest(&kilnv1.WatchIntentRequest{Revision: intents.Revision(), Edge: l.cfg.Edge, Url: l.cfg.URL, Url6: l.cfg.URL6}))
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
