package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/coordinator/members"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// Life of join tokens.
const (
	tokenLife    = 24 * time.Hour
	maxTokenLife = 90 * 24 * time.Hour
)

// admin implements kilnv1connect.AdminServiceHandler.
type admin struct{ c *Coordinator }

var _ kilnv1connect.AdminServiceHandler = (*admin)(nil)

// errAlone: the farm has one coordinator and no certificates.
var errAlone = connect.NewError(connect.CodeFailedPrecondition, errors.New("this farm is a single server (kiln server): it has no members, roles or tokens; see kiln init and kiln coordinator"))

func (a *admin) leader() (*leader, error) {
	l, _, err := (&api{c: a.c}).leader()
	return l, err
}

// Topology tells any part of the farm where the others are.
func (a *admin) Topology(context.Context, *connect.Request[kilnv1.TopologyRequest]) (*connect.Response[kilnv1.TopologyResponse], error) {
	l, err := a.leader()
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(l.topology()), nil
}

func (l *leader) topology() *kilnv1.TopologyResponse {
	t := &kilnv1.TopologyResponse{Farm: l.cfg.Farm}
	cluster := l.cfg.Cluster
	if cluster == nil {
		return t
	}
	t.Store, t.Buses, t.Members = cluster.Store, cluster.Buses, l.members.Status()
	for _, m := range t.Members {
		t.Coordinators = append(t.Coordinators, m.GetMember().GetAddress())
		if bus := m.GetMember().GetBus(); bus != "" && len(cluster.Buses) == 0 {
			t.Buses = append(t.Buses, "tls://"+bus)
		}
	}
	return t
}

// Announce takes a coordinator in.
func (a *admin) Announce(ctx context.Context, req *connect.Request[kilnv1.AnnounceRequest]) (*connect.Response[kilnv1.AnnounceResponse], error) {
	l, err := a.leader()
	if err != nil {
		return nil, err
	}
	if l.cfg.Cluster == nil {
		return nil, errAlone
	}
	if who := callerOf(ctx); who.Name != req.Msg.GetMember().GetId() {
		return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the certificate is for coordinator %q, not %q", who.Name, req.Msg.GetMember().GetId()))
	}
	answer, err := l.members.Announce(ctx, req.Msg)
	if err != nil {
		return nil, announceError(err)
	}
	return connect.NewResponse(answer), nil
}

// announceError is what one who announces itself is told.
func announceError(err error) error {
	var not *members.NotTakenError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &not):
		return unavailable(err)
	case not.Invalid:
		return connect.NewError(connect.CodeInvalidArgument, not)
	}
	return connect.NewError(connect.CodeFailedPrecondition, not)
}

// RemoveMember removes a coordinator for good.
func (a *admin) RemoveMember(_ context.Context, req *connect.Request[kilnv1.RemoveMemberRequest]) (*connect.Response[kilnv1.RemoveMemberResponse], error) {
	l, err := a.leader()
	if err != nil {
		return nil, err
	}
	if l.cfg.Cluster == nil {
		return nil, errAlone
	}
	id, known := req.Msg.GetId(), false
	l.View(func(m *state.Machine) { known = m.Member(id) != nil })
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no coordinator %.80q: kiln farm members lists them", id))
	}
	switch err := l.members.Remove(l.Context(), id, true); {
	case errors.Is(err, members.ErrLastMajority):
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("coordinator %s stays: %w; bring another one up first", id, err))
	case err != nil:
		return nil, unavailable(err)
	}
	l.log.Warn("a coordinator was removed by an administrator", "node", id)
	return connect.NewResponse(&kilnv1.RemoveMemberResponse{}), nil
}

// Hold keeps work away from a builder, or gives it work again.
func (a *admin) Hold(ctx context.Context, req *connect.Request[kilnv1.HoldRequest]) (*connect.Response[kilnv1.HoldResponse], error) {
	l, err := a.leader()
	if err != nil {
		return nil, err
	}
	hold := &kilnv1.HoldCommand{Builder: req.Msg.GetBuilder(), Reason: req.Msg.GetReason(), Release: req.Msg.GetRelease()}
	if hold.Reason == "" {
		hold.Reason = "drained by an administrator"
	}
	if ms := req.Msg.GetForMs(); ms > 0 {
		hold.Until = l.cfg.Now().UnixMilli() + ms
	}
	err = l.govern(ctx, &kilnv1.Command{Command: &kilnv1.Command_Hold{Hold: hold}}, fmt.Sprintf("builder %.80q", hold.Builder))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&kilnv1.HoldResponse{}), nil
}

// SetTeam changes a team's share and limits.
func (a *admin) SetTeam(ctx context.Context, req *connect.Request[kilnv1.SetTeamRequest]) (*connect.Response[kilnv1.SetTeamResponse], error) {
	l, err := a.leader()
	if err != nil {
		return nil, err
	}
	if u := req.Msg.GetTeam().GetUnpack(); u.GetBytes() < 0 || u.GetFiles() < 0 || u.GetRatio() < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("a limit of what images unpack to is negative"))
	}
	command := &kilnv1.Command{Command: &kilnv1.Command_Team{Team: &kilnv1.TeamCommand{Team: req.Msg.GetTeam(), Remove: req.Msg.GetRemove()}}}
	if err := l.govern(ctx, command, fmt.Sprintf("team %.80q", req.Msg.GetTeam().GetName())); err != nil {
		return nil, err
	}
	return connect.NewResponse(&kilnv1.SetTeamResponse{}), nil
}

// govern commits what an administrator says about what.
func (l *leader) govern(ctx context.Context, c *kilnv1.Command, what string) error {
	results, err := l.Propose(ctx, c)
	if err != nil {
		return unavailable(err)
	}
	switch r := results[0].Refused; r {
	case "":
		return nil
	case state.RefusedLevel:
		return connect.NewError(connect.CodeFailedPrecondition, errors.New("not every coordinator runs a release that knows this: finish the upgrade first (kiln farm members shows who is behind)"))
	case state.RefusedUnknown:
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("nothing is set for %s", what))
	default:
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s: a name is missing or a number is out of range (a weight is 1 to 10,000)", what))
	}
}

// Token makes a join token.
func (a *admin) Token(_ context.Context, req *connect.Request[kilnv1.TokenRequest]) (*connect.Response[kilnv1.TokenResponse], error) {
	if a.c.cfg.Cluster == nil {
		return nil, errAlone
	}
	role, err := pki.ParseRole(req.Msg.GetRole())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	life := time.Duration(req.Msg.GetTtlMs()) * time.Millisecond
	switch {
	case life == 0:
		life = tokenLife
	case life < 0 || life > maxTokenLife:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a token lives at most %d days", maxTokenLife/(24*time.Hour)))
	}
	if req.Msg.GetTeam() != "" && role != pki.RoleSubmit {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a team is for tokens of the role submit, not %s", role))
	}
	expires := a.c.cfg.Now().Add(life)
	token, err := a.c.cfg.Cluster.Authority.Token(pki.Claims{Farm: a.c.cfg.Farm, Role: role, Team: req.Msg.GetTeam(), Expires: expires})
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("make a token: %w", err))
	}
	return connect.NewResponse(&kilnv1.TokenResponse{Token: token, ExpiresUnixMs: expires.UnixMilli()}), nil
}
