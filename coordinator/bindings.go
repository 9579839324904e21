package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/dnsname"
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/internal/retry"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxBinds      = 1000 // commands in one request
	bindingsChunk = 500  // bindings in one message
	blockLife     = 10 * time.Minute

	bindingsGather = 20 * time.Millisecond // that changes wait for others: a message costs more than what is in it
)

var verdicts = map[state.Refusal]kilnv1.BindVerdict{
	"":                     kilnv1.BindVerdict_BIND_VERDICT_DONE,
	state.RefusedBound:     kilnv1.BindVerdict_BIND_VERDICT_TAKEN,
	state.RefusedElsewhere: kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE,
	state.RefusedOutside:   kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE,
	state.RefusedFull:      kilnv1.BindVerdict_BIND_VERDICT_FULL,
}

// Bind implements RoomService. What it answers is committed, and it goes before commands of builds: a client of DHCP waits for
// seconds only.
func (r *room) Bind(ctx context.Context, req *connect.Request[kilnv1.BindRequest]) (*connect.Response[kilnv1.BindResponse], error) {
	l, err := r.leading(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(req.Msg.GetCommands()); n > maxBinds {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d commands in one request, at most %d are taken", n, maxBinds))
	}
	var commands []*kilnv1.Command
	level := l.Level()
	for _, c := range req.Msg.GetCommands() {
		if c.GetOperation() == kilnv1.BindCommand_OPERATION_FREE && callerOf(ctx).Role == pki.RoleEdge {
			return nil, connect.NewError(connect.CodePermissionDenied, errors.New("edges do not free addresses of others: an administrator does"))
		}
		if c.Edge, err = asEdge(ctx, c.GetEdge()); err != nil {
			return nil, err
		}
		if c.Name = dnsname.Label(c.GetName()); level < state.NamesLevel {
			c.Name, c.Nameless = "", false // an address is worth more than a name
		}
		commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: c}})
	}
	answer := &kilnv1.BindResponse{}
	if len(commands) == 0 {
		return connect.NewResponse(answer), nil
	}
	results, err := l.Urge(ctx, commands...)
	if err != nil {
		return nil, unavailable(err)
	}
	steady := l.Steady()
	for _, result := range results {
		verdict, known := verdicts[result.Refused]
		switch {
		case result.Refused == state.RefusedLevel:
			return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("a coordinator of an older release still runs, which knows nothing of addresses: upgrade all of them first"))
		case !known:
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the request is refused: %s", result.Refused))
		}
		one := &kilnv1.BindResult{Verdict: verdict, Address: result.Binding.GetAddress(), Name: result.Name}
		if result.Binding != nil {
			one.UntilMs, one.KeptUntilMs = result.Binding.GetUntilMs(), result.Binding.GetKeptUntilMs()
			one.RemainingMs = one.GetUntilMs() - steady
		}
		answer.Results = append(answer.Results, one)
	}
	return connect.NewResponse(answer), nil
}

// Grant implements RoomService.
func (r *room) Grant(ctx context.Context, req *connect.Request[kilnv1.GrantRequest]) (*connect.Response[kilnv1.GrantResponse], error) {
	l, err := r.leading(ctx)
	if err != nil {
		return nil, err
	}
	edge, err := asEdge(ctx, req.Msg.GetEdge())
	if err != nil {
		return nil, err
	}
	results, err := l.Urge(ctx, &kilnv1.Command{Command: &kilnv1.Command_Block{Block: &kilnv1.BlockCommand{
		Edge: edge, Subnet: req.Msg.GetSubnet(), Class: req.Msg.GetClass(), Size: req.Msg.GetSize(), ForMs: blockLife.Milliseconds(),
	}}})
	if err != nil {
		return nil, unavailable(err)
	}
	if refused := results[0].Refused; refused != "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("no addresses of subnet %s: %s", req.Msg.GetSubnet(), refused))
	}
	return connect.NewResponse(&kilnv1.GrantResponse{Addresses: results[0].Block.GetAddresses(), RemainingMs: blockLife.Milliseconds()}), nil
}

// WatchBindings implements RoomService.
func (r *room) WatchBindings(ctx context.Context, req *connect.Request[kilnv1.WatchBindingsRequest], stream *connect.ServerStream[kilnv1.WatchBindingsResponse]) error {
	l, err := r.leading(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(nil); err != nil {
		return err
	}
	changes, leave := l.bindings.Join()
	defer leave()
	var all []*kilnv1.Binding
	l.View(func(m *state.Machine) { all = m.Bindings() })
	send := func(bindings []*kilnv1.Binding, complete bool) error {
		answer := &kilnv1.WatchBindingsResponse{Complete: complete}
		steady := l.Steady()
		for _, b := range bindings {
			if req.Msg.GetSubnet() == "" || b.GetSubnet() == req.Msg.GetSubnet() {
				one := &kilnv1.BindingNow{Binding: b, RemainingMs: b.GetUntilMs() - steady}
				if req.Msg.GetOnce() {
					one.Name, one.NameState, one.NameWhy = l.names.Name(b.GetSubnet(), b.GetAddress())
				}
				answer.Bindings = append(answer.Bindings, one)
			}
		}
		return stream.Send(answer)
	}
	for len(all) > bindingsChunk {
		if err := send(all[:bindingsChunk], false); err != nil {
			return err
		}
		all = all[bindingsChunk:]
	}
	if err := send(all, true); err != nil || req.Msg.GetOnce() {
		return err
	}
	for {
		select {
		case b, ok := <-changes:
			if !ok {
				return unavailable(errors.New("the caller is too far behind; it begins anew"))
			}
			if !retry.Sleep(ctx, bindingsGather) { // more of them soon
				return ctx.Err()
			}
			batch := []*kilnv1.Binding{b}
			for len(batch) < bindingsChunk && len(changes) > 0 {
				if b, ok := <-changes; ok {
					batch = append(batch, b)
				}
			}
			if err := send(batch, false); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Context().Done():
			return unavailable(replica.ErrNotLeading)
		}
	}
}
