package coordinator

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/coordinator/feed"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/results"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// Watch streams a build's events until it has ended.
func (a *api) Watch(ctx context.Context, req *connect.Request[kilnv1.WatchRequest], stream *connect.ServerStream[kilnv1.WatchResponse]) error {
	l, _, err := a.leader()
	if err != nil {
		return err
	}
	id, after := req.Msg.GetId(), req.Msg.GetAfter()
	if err := a.mayTouch(ctx, id); err != nil {
		return err
	}
	send := func(e *kilnv1.BuildEvent) error { return stream.Send(&kilnv1.WatchResponse{Event: e}) }
	f := l.feeds.Of(id)
	if f == nil {
		r, err := a.record(ctx, "", id)
		if err != nil {
			return err
		}
		for i, e := range feed.EventsOfRecord(r) {
			e.Sequence, e.UnixMs = after+uint64(i)+1, r.GetFinishedUnixMs()
			if err := send(e); err != nil {
				return err
			}
		}
		return nil
	}
	defer l.watchers.Enter(id)()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.Context(), func() { cancel(replica.ErrNotLeading) })()
	err = f.Watch(ctx, after, func() []*kilnv1.BuildEvent { return a.summary(ctx, l, id) }, send)
	if err != nil && errors.Is(context.Cause(ctx), replica.ErrNotLeading) {
		return connect.NewError(connect.CodeUnavailable, replica.ErrNotLeading)
	}
	return err
}

// summary is what a build has come to, from the state or from its record.
func (a *api) summary(ctx context.Context, l *leader, id string) (events []*kilnv1.BuildEvent) {
	l.View(func(m *state.Machine) {
		if b := m.Build(id); b != nil {
			events = feed.SummaryOf(m, b)
		}
	})
	if events == nil {
		if r, err := a.record(ctx, "", id); err == nil {
			events = feed.EventsOfRecord(r)
		}
	}
	return events
}

// GetBuild returns the record of a build, finished or not.
func (a *api) GetBuild(ctx context.Context, req *connect.Request[kilnv1.GetBuildRequest]) (*connect.Response[kilnv1.GetBuildResponse], error) {
	if _, err := a.surely(ctx); err != nil {
		return nil, err
	}
	team := req.Msg.GetTeam()
	if own := callerOf(ctx).Team; own != "" {
		team = own
	}
	r, err := a.record(ctx, team, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&kilnv1.GetBuildResponse{Build: r}), nil
}

// record finds a build in the state, then in the cache: under its team, or under any when team is empty.
func (a *api) record(ctx context.Context, team, id string) (*kilnv1.BuildRecord, error) {
	var r *kilnv1.BuildRecord
	a.c.fsm.View(func(m *state.Machine) {
		if b := m.Build(id); b != nil {
			r = feed.RecordOf(b)
		}
	})
	if r != nil && (team == "" || r.GetSpec().GetTeam() == team) {
		a.whole(r)
		return r, nil
	}
	key := cache.BuildKey(team, id)
	found := &kilnv1.BuildRecord{}
	err := record.Get(ctx, a.c.cfg.Store, key, found)
	if errors.Is(err, cache.ErrNotFound) && team == "" {
		err = a.anyTeam(ctx, id, found)
	}
	if errors.Is(err, cache.ErrNotFound) {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no build %.80q", id))
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return found, nil
}

// whole gives a build that one look-up has answered, and that is not recorded yet, its steps: the state has none of them.
func (a *api) whole(r *kilnv1.BuildRecord) {
	if l, _ := a.c.current(); l != nil && len(r.GetNodes()) == 0 {
		if final := l.results.Finals.Get(r.GetSpec().GetId()); final != nil {
			r.Nodes = results.HitsOf(final)
		}
	}
}

// errStop ends a listing early.
var errStop = errors.New("found")

func (a *api) anyTeam(ctx context.Context, id string, into *kilnv1.BuildRecord) error {
	suffix := "/" + path.Base(cache.BuildKey("", id).String())
	var key cache.Key
	err := a.c.cfg.Store.List(ctx, cache.BuildPrefix, func(e cache.Entry) error {
		if strings.HasSuffix(e.Key.String(), suffix) {
			key = e.Key
			return errStop
		}
		return nil
	})
	if err == nil {
		return cache.ErrNotFound
	}
	if !errors.Is(err, errStop) {
		return err
	}
	return record.Get(ctx, a.c.cfg.Store, key, into)
}

// ListBuilds returns builds of a team, newest first, without their nodes.
func (a *api) ListBuilds(ctx context.Context, req *connect.Request[kilnv1.ListBuildsRequest]) (*connect.Response[kilnv1.ListBuildsResponse], error) {
	limit := int(req.Msg.GetLimit())
	if limit == 0 {
		limit = defaultList
	}
	limit = min(limit, maxBuildList)
	team, name := req.Msg.GetTeam(), req.Msg.GetName()
	if err := mayUse(ctx, team); err != nil {
		return nil, err
	}
	if _, err := a.surely(ctx); err != nil {
		return nil, err
	}
	var found []*kilnv1.BuildRecord
	here := map[string]bool{}
	a.c.fsm.View(func(m *state.Machine) {
		for _, b := range m.Builds() {
			if b.Spec.GetTeam() == team && !(req.Msg.GetRunning() && b.Ended()) {
				here[b.Spec.GetId()] = true
				if name == "" || b.Spec.GetName() == name {
					found = append(found, feed.RecordOf(b))
				}
			}
		}
	})
	slices.Reverse(found)
	for _, r := range found {
		a.whole(r)
	}
	if req.Msg.GetRunning() {
		return connect.NewResponse(slimmed(found, limit)), nil
	}
	prefix := strings.TrimSuffix(cache.BuildKey(team, "x").String(), "x")
	var keys []cache.Key
	err := a.c.cfg.Store.List(ctx, prefix, func(e cache.Entry) error {
		if !here[strings.TrimPrefix(e.Key.String(), prefix)] {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("list the builds of team %q: %w", team, err))
	}
	// Ids are time-ordered (UUIDv7), so the newest are last.
	slices.SortFunc(keys, func(a, b cache.Key) int { return strings.Compare(b.String(), a.String()) })
	for _, key := range keys {
		if len(found) >= limit {
			break
		}
		r := &kilnv1.BuildRecord{}
		if err := record.Get(ctx, a.c.cfg.Store, key, r); err != nil {
			if errors.Is(err, cache.ErrNotFound) {
				continue // pruned meanwhile
			}
			return nil, connect.NewError(connect.CodeInternal, err)
		}
		if name == "" || r.GetSpec().GetName() == name {
			found = append(found, r)
		}
	}
	return connect.NewResponse(slimmed(found, limit)), nil
}

// slimmed is the first builds without their nodes.
func slimmed(found []*kilnv1.BuildRecord, limit int) *kilnv1.ListBuildsResponse {
	answer := &kilnv1.ListBuildsResponse{}
	for _, r := range found[:min(limit, len(found))] {
		slim := proto.CloneOf(r)
		slim.Nodes = nil
		answer.Builds = append(answer.Builds, slim)
	}
	return answer
}
