package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/fleet/boots"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxIntent    = 32 << 20 // bytes of a change: 100,000 machines
	maxReport    = 10_000   // events
	maxDetail    = 500      // bytes
	tokenKeySize = 32
)

// room is the API of what machines boot.
type room struct{ c *Coordinator }

// leading is the leader of this coordinator, for answers that must not be of the past.
func (r *room) leading(ctx context.Context) (*leader, error) { return (&api{r.c}).surely(ctx) }

// GetIntent implements RoomService.
func (r *room) GetIntent(ctx context.Context, _ *connect.Request[kilnv1.GetIntentRequest]) (*connect.Response[kilnv1.GetIntentResponse], error) {
	l, err := r.leading(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&kilnv1.GetIntentResponse{Intent: intentFor(ctx, l)}), nil
}

// intentFor is the intent as the caller may see it: with secrets and keys for edges, and where there is one host only.
func intentFor(ctx context.Context, l *leader) *kilnv1.Intent {
	var intent *kilnv1.Intent
	l.View(func(m *state.Machine) { intent = m.Intent() })
	if who := callerOf(ctx); who.Role == pki.RoleEdge || who.Key == "" {
		return intent
	}
	open := &kilnv1.Intent{Revision: intent.GetRevision(), Groups: intent.GetGroups(), Releases: intent.GetReleases(), Subnets: intent.GetSubnets()}
	for _, m := range intent.GetMachines() {
		if len(m.GetSecrets()) > 0 {
			m = proto.CloneOf(m)
			for name := range m.Secrets {
				m.Secrets[name] = ""
			}
		}
		open.Machines = append(open.Machines, m)
	}
	return open
}

// Change implements RoomService.
func (r *room) Change(ctx context.Context, req *connect.Request[kilnv1.ChangeRequest]) (*connect.Response[kilnv1.ChangeResponse], error) {
	l, err := r.leading(ctx)
	if err != nil {
		return nil, err
	}
	change := req.Msg.GetChange()
	if change == nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the request holds no change"))
	}
	var now *kilnv1.Intent
	l.View(func(m *state.Machine) { now = m.Intent() })
	if change.GetBase() != now.GetRevision() {
		return nil, staleIntent(change.GetBase(), now.GetRevision())
	}
	keepSecrets(now, change)
	answer := &kilnv1.ChangeResponse{Revision: now.GetRevision()}
	if answer.Problems = fleet.CheckChange(now, fleet.Apply(now, change)).Sentences(); len(answer.Problems) > 0 {
		return connect.NewResponse(answer), nil
	}
	if answer.Problems = l.conflicts(change); len(answer.Problems) > 0 || req.Msg.GetDryRun() {
		return connect.NewResponse(answer), nil
	}
	change.TokenKey = nil
	if len(now.GetTokenKey()) == 0 {
		change.TokenKey = make([]byte, tokenKeySize)
		if _, err := rand.Read(change.TokenKey); err != nil {
			return nil, connect.NewError(connect.CodeInternal, err)
		}
	}
	results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Room{Room: change}})
	if err != nil {
		return nil, unavailable(err)
	}
	switch results[0].Refused {
	case "":
		answer.Revision++
		l.log.Info("what machines boot was changed", "revision", answer.Revision, "by", callerOf(ctx).Name,
			"machines", len(change.GetMachines()), "groups", len(change.GetGroups()), "releases", len(change.GetReleases()), "subnets", len(change.GetSubnets()))
		return connect.NewResponse(answer), nil
	case state.RefusedStale:
		l.View(func(m *state.Machine) { now = m.Intent() })
		return nil, staleIntent(change.GetBase(), now.GetRevision())
	case state.RefusedHeld: // bound meanwhile
		if answer.Problems = l.conflicts(change); len(answer.Problems) == 0 {
			return nil, connect.NewError(connect.CodeAborted, errors.New("an address was bound meanwhile: look at kiln diff and apply again"))
		}
		return connect.NewResponse(answer), nil
	case state.RefusedLevel:
		what := "machines"
		if len(change.GetSubnets())+len(change.GetRemoveSubnets()) > 0 {
			what = "subnets"
		}
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("a coordinator of an older release still runs, which knows no %s: upgrade all of them first", what))
	}
	return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the change is refused: %s", results[0].Refused))
}

func staleIntent(base, now uint64) error {
	return connect.NewError(connect.CodeAborted, fmt.Errorf("somebody else changed the intent meanwhile (revision %d, and not %d): look at kiln diff and apply again", now, base))
}

// WatchIntent implements RoomService.
func (r *room) WatchIntent(ctx context.Context, req *connect.Request[kilnv1.WatchIntentRequest], stream *connect.ServerStream[kilnv1.WatchIntentResponse]) error {
	l, err := r.leading(ctx)
	if err != nil {
		return err
	}
	edge, err := asEdge(ctx, req.Msg.GetEdge())
	if err != nil {
		return err
	}
	if err := stream.Send(nil); err != nil { // the headers, so that the caller knows that it is heard
		return err
	}
	have := req.Msg.GetRevision()
	if edge != "" && req.Msg.GetUrl() != "" {
		defer l.room.Enter(edge, req.Msg.GetUrl(), req.Msg.GetUrl6())()
	}
	told := ""
	for {
		more := l.room.Wait()
		answer := &kilnv1.WatchIntentResponse{}
		if intent := intentFor(ctx, l); intent.GetRevision() > have {
			answer.Intent, have = intent, intent.GetRevision()
		}
		if edges := l.room.Edges(); fmt.Sprint(edges) != told {
			answer.Edges, told = edges, fmt.Sprint(edges)
		}
		if answer.Intent != nil || answer.Edges != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Context().Done():
			return unavailable(replica.ErrNotLeading)
		}
	}
}

// Report implements RoomService.
func (r *room) Report(ctx context.Context, req *connect.Request[kilnv1.ReportRequest]) (*connect.Response[kilnv1.ReportResponse], error) {
	l, err := r.leading(ctx)
	if err != nil {
		return nil, err
	}
	events := req.Msg.GetEvents()
	if len(events) > maxReport {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d events in one report, at most %d are taken", len(events), maxReport))
	}
	edge, err := asEdge(ctx, req.Msg.GetEdge())
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		e.Edge, e.Detail = edge, clip(e.GetDetail(), maxDetail)
	}
	l.room.Report(events)
	return connect.NewResponse(&kilnv1.ReportResponse{}), nil
}

// Take implements RoomService. The answer is committed before it is given.
func (r *room) Take(ctx context.Context, req *connect.Request[kilnv1.TakeRequest]) (*connect.Response[kilnv1.TakeResponse], error) {
	l, err := r.leading(ctx)
	if err != nil {
		return nil, err
	}
	results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Take{Take: &kilnv1.TakeCommand{
		Machine: req.Msg.GetMachine(), Boot: req.Msg.GetBoot(), Document: req.Msg.GetDocument(), Request: req.Msg.GetRequest(),
	}}})
	if err != nil {
		return nil, unavailable(err)
	}
	switch results[0].Refused {
	case "", state.RefusedTaken:
		return connect.NewResponse(&kilnv1.TakeResponse{Fresh: results[0].Refused == ""}), nil
	case state.RefusedLevel:
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("a coordinator of an older release still runs, which knows nothing of secrets that are read once: upgrade all of them first"))
	}
	return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the request is refused: %s", results[0].Refused))
}

// Boots implements RoomService.
func (r *room) Boots(ctx context.Context, req *connect.Request[kilnv1.BootsRequest], stream *connect.ServerStream[kilnv1.BootsResponse]) error {
	l, err := r.leading(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(nil); err != nil {
		return err
	}
	machine := req.Msg.GetMachine()
	past, next := l.room.Since(0)
	if machine != "" {
		kept, err := l.room.Kept(ctx, machine)
		if err != nil {
			return connect.NewError(connect.CodeInternal, err)
		}
		past = boots.Merge(kept, past)
	}
	for {
		more := l.room.Wait()
		for _, e := range past {
			if machine == "" || e.GetMachine() == machine || e.GetMac() == machine {
				if err := stream.Send(&kilnv1.BootsResponse{Event: e}); err != nil {
					return err
				}
			}
		}
		if !req.Msg.GetFollow() {
			return nil
		}
		if past, next = l.room.Since(next); len(past) > 0 {
			continue
		}
		select {
		case <-more:
			past, next = l.room.Since(next)
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Context().Done():
			return unavailable(replica.ErrNotLeading)
		}
	}
}

// clip keeps the first n bytes.
func clip(s string, n int) string { return s[:min(len(s), n)] }

// keepSecrets fills in the secrets that are empty: whoever changes a machine is not shown them.
func keepSecrets(now *kilnv1.Intent, change *kilnv1.RoomCommand) {
	known := map[string]map[string]string{}
	for _, m := range now.GetMachines() {
		known[m.GetName()] = m.GetSecrets()
	}
	for _, m := range change.GetMachines() {
		for name, value := range m.GetSecrets() {
			if old, ok := known[m.GetName()][name]; ok && value == "" {
				m.Secrets[name] = old
			}
		}
	}
}
