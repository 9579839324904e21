package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// join implements kilnv1connect.JoinServiceHandler.
type join struct{ c *Coordinator }

var _ kilnv1connect.JoinServiceHandler = (*join)(nil)

// Join signs a certificate for whoever has a token, or a new one for whoever has a certificate.
func (j *join) Join(ctx context.Context, req *connect.Request[kilnv1.JoinRequest]) (*connect.Response[kilnv1.JoinResponse], error) {
	l, _, err := (&api{c: j.c}).leader()
	if err != nil {
		return nil, err
	}
	cluster := j.c.cfg.Cluster
	if cluster == nil {
		return nil, errAlone
	}
	id, err := j.identity(ctx, l, req.Msg)
	if err != nil {
		return nil, err
	}
	certificate, err := cluster.Authority.Sign(req.Msg.GetCsr(), id, req.Msg.GetHosts(), j.c.cfg.Now())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the certificate request is not usable: %w", err))
	}
	answer := &kilnv1.JoinResponse{Certificate: certificate, Ca: cluster.Authority.Certificate(), Topology: l.topology()}
	if id.Role == pki.RoleCoordinator && req.Msg.GetToken() != "" {
		// Every coordinator signs, so that the farm takes newcomers whichever of them is there.
		answer.CaKey = cluster.Authority.Key()
	}
	l.log.Info("a certificate was signed", "role", id.Role, "name", id.Name, "team", id.Team, "renewed", req.Msg.GetToken() == "")
	return connect.NewResponse(answer), nil
}

// identity is whom a certificate is to be for.
func (j *join) identity(ctx context.Context, l *leader, req *kilnv1.JoinRequest) (pki.Identity, error) {
	none := pki.Identity{}
	name := req.GetId()
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		return none, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("id %.80q: it is up to 128 letters, digits and signs, without blanks and slashes", name))
	}
	if req.GetToken() == "" {
		who := callerOf(ctx)
		switch {
		case who.Role == "":
			return none, connect.NewError(connect.CodeUnauthenticated, errors.New("joining needs a token: an administrator makes one with kiln farm token"))
		case who.Name != name:
			return none, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the certificate to be renewed is for %q, not %q", who.Name, name))
		}
		return pki.Identity{Farm: j.c.cfg.Farm, Role: who.Role, Name: name, Team: who.Team}, nil
	}
	claims, err := j.c.cfg.Cluster.Authority.CheckToken(req.GetToken(), j.c.cfg.Now())
	if err != nil {
		return none, connect.NewError(connect.CodeUnauthenticated, err)
	}
	taken := false
	switch claims.Role {
	case pki.RoleCoordinator:
		l.View(func(m *state.Machine) { taken = m.Member(name) != nil || m.Barred(name) })
	case pki.RoleBuilder:
		taken = l.dispatch.Leases.Hears(name)
	}
	if taken {
		return none, connect.NewError(connect.CodeAlreadyExists, fmt.Errorf(
			"the id %s is taken by another %s of this farm: choose another one with --id, or stop and remove that one first", name, claims.Role))
	}
	return pki.Identity{Farm: j.c.cfg.Farm, Role: claims.Role, Name: name, Team: claims.Team}, nil
}
