package coordinator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	defaultQueue = 50
	maxQueue     = 10_000
	urlLife      = 15 * time.Minute // of a URL that reads a blob from the cache
	maxURLs      = 1000             // asked for at once
)

// Status tells what the farm is doing now.
func (a *api) Status(ctx context.Context, _ *connect.Request[kilnv1.StatusRequest]) (*connect.Response[kilnv1.StatusResponse], error) {
	l, err := a.surely(ctx)
	if err != nil {
		return nil, err
	}
	answer := &kilnv1.StatusResponse{
		Version: a.c.cfg.Version, Farm: a.c.cfg.Farm, Leader: a.c.cfg.NodeID, Ready: uint32(l.dispatch.Sched.Ready()),
		Workers: l.dispatch.Builders(), Teams: l.dispatch.Teams(),
	}
	l.View(func(m *state.Machine) {
		answer.Level, answer.Epoch = m.FeatureLevel(), m.Epoch()
		for _, b := range m.Builds() {
			if !b.Ended() {
				answer.Builds++
			}
		}
	})
	p50, p99, leases := l.dispatch.Waits.Quantiles()
	answer.LeaseP50Us, answer.LeaseP99Us, answer.Leases = p50.Microseconds(), p99.Microseconds(), leases
	leased, builders := l.dispatch.Leases.Count()
	slices.Sort(builders)
	answer.Leased, answer.Builders = uint32(leased), builders
	if cluster := a.c.cfg.Cluster; cluster != nil {
		answer.Members, answer.Store = l.members.Status(), cluster.Store
	}
	return connect.NewResponse(answer), nil
}

// Queue tells what waits, and why.
func (a *api) Queue(ctx context.Context, req *connect.Request[kilnv1.QueueRequest]) (*connect.Response[kilnv1.QueueResponse], error) {
	l, _, err := a.leader()
	if err != nil {
		return nil, err
	}
	team := req.Msg.GetTeam()
	if own := callerOf(ctx).Team; team == "" && own != "" {
		team = own
	}
	if err := mayUse(ctx, team); err != nil {
		return nil, err
	}
	limit := int(req.Msg.GetLimit())
	if limit == 0 {
		limit = defaultQueue
	}
	steps, total := l.dispatch.Queue(team, min(limit, maxQueue))
	return connect.NewResponse(&kilnv1.QueueResponse{Steps: steps, Total: uint32(total)}), nil
}

// BlobURLs returns URLs by which blobs can be read from the cache without this farm in between.
func (a *api) BlobURLs(ctx context.Context, req *connect.Request[kilnv1.BlobURLsRequest]) (*connect.Response[kilnv1.BlobURLsResponse], error) {
	if n := len(req.Msg.GetDigests()); n > maxURLs {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d digests in one request, at most %d are allowed", n, maxURLs))
	}
	answer := &kilnv1.BlobURLsResponse{Urls: map[string]string{}, ValidMs: urlLife.Milliseconds()}
	if a.c.cfg.BlobURL == nil {
		return connect.NewResponse(answer), nil
	}
	for _, text := range req.Msg.GetDigests() {
		d, err := cache.ParseDigest(text)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		url, err := a.c.cfg.BlobURL(ctx, d, urlLife)
		if err != nil {
			a.c.cfg.Log.Debug("a blob has no URL; its readers use the blob API", "blob", text, "error", err)
			continue
		}
		answer.Urls[text] = url
	}
	return connect.NewResponse(answer), nil
}
