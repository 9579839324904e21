package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// headerCaller carries, from a follower to the leader, whom a request came from. It counts only when the connection
// is another coordinator's.
const headerCaller = "Kiln-Caller"

// caller is who makes a request.
type caller struct {
	Role    pki.Role
	Name    string
	Team    string // the only one that it acts for; empty: any
	Key     string // of its certificate, so that two of one name can be told apart
	Through string // the coordinator that passed the request on
}

type callerKey struct{}

// callerOf is who makes the request of ctx. Without TLS everyone may do everything: such a farm listens on loopback.
func callerOf(ctx context.Context) caller {
	if c, ok := ctx.Value(callerKey{}).(caller); ok {
		return c
	}
	return caller{Role: pki.RoleAdmin}
}

// identified finds out who makes a request.
func (c *Coordinator) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.cfg.Cluster == nil {
			next.ServeHTTP(w, r)
			return
		}
		from := caller{}
		if r.TLS != nil {
			who, err := pki.PeerIdentity(r.TLS)
			switch {
			case err == nil:
				from = caller{Role: who.Role, Name: who.Name, Team: who.Team, Key: fmt.Sprintf("%x", who.Key)}
			case !errors.Is(err, pki.ErrNoIdentity):
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
		}
		if from.Role == pki.RoleCoordinator && r.Header.Get(headerCaller) != "" {
			through := from.Name
			if err := json.Unmarshal([]byte(r.Header.Get(headerCaller)), &from); err != nil {
				http.Error(w, "the request was passed on by a coordinator of another release", http.StatusBadGateway)
				return
			}
			from.Through = through
		}
		r.Header.Del(headerCaller)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, from)))
	})
}

// Who may call what. A procedure that is not listed is the admin's.
var (
	everyone = []pki.Role{pki.RoleAdmin, pki.RoleSubmit, pki.RoleBuilder, pki.RoleEdge, pki.RoleCoordinator}
	users    = []pki.Role{pki.RoleAdmin, pki.RoleSubmit}
	readers  = []pki.Role{pki.RoleAdmin, pki.RoleSubmit, pki.RoleEdge}
	allowed  = map[string][]pki.Role{
		kilnv1connect.FarmServiceSubmitProcedure:        users,
		kilnv1connect.FarmServiceCancelProcedure:        users,
		kilnv1connect.FarmServiceWatchProcedure:         readers,
		kilnv1connect.FarmServiceGetBuildProcedure:      readers,
		kilnv1connect.FarmServiceListBuildsProcedure:    readers,
		kilnv1connect.FarmServiceMissingBlobsProcedure:  readers,
		kilnv1connect.FarmServiceBlobURLsProcedure:      readers,
		kilnv1connect.FarmServiceQueueProcedure:         users,
		kilnv1connect.FarmServiceStatusProcedure:        everyone,
		kilnv1connect.AdminServiceTopologyProcedure:     everyone,
		kilnv1connect.RoomServiceGetIntentProcedure:     {pki.RoleAdmin, pki.RoleEdge},
		kilnv1connect.RoomServiceWatchIntentProcedure:   {pki.RoleEdge},
		kilnv1connect.RoomServiceReportProcedure:        {pki.RoleEdge},
		kilnv1connect.RoomServiceTakeProcedure:          {pki.RoleEdge},
		kilnv1connect.RoomServiceBindProcedure:          {pki.RoleAdmin, pki.RoleEdge},
		kilnv1connect.RoomServiceGrantProcedure:         {pki.RoleEdge},
		kilnv1connect.RoomServiceWatchBindingsProcedure: {pki.RoleAdmin, pki.RoleEdge},
		kilnv1connect.RoomServiceBootsProcedure:         {pki.RoleAdmin, pki.RoleEdge},
		kilnv1connect.AdminServiceAnnounceProcedure:     {pki.RoleCoordinator},
	}
)

// permitted refuses requests of those who have no right to make them.
func permitted(next http.Handler) http.Handler {
	errs := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := callerOf(r.Context())
		roles, listed := allowed[r.URL.Path]
		if r.URL.Path == kilnv1connect.JoinServiceJoinProcedure || who.Role == pki.RoleAdmin && !slices.Equal(roles, []pki.Role{pki.RoleCoordinator}) ||
			listed && slices.Contains(roles, who.Role) {
			next.ServeHTTP(w, r)
			return
		}
		err := connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the role %s may not do that: ask an administrator of the farm for credentials with another role", who.Role))
		if who.Role == "" {
			err = connect.NewError(connect.CodeUnauthenticated, errors.New("this farm wants to know who you are: get credentials with kiln login and name them with --credentials"))
		}
		_ = errs.Write(w, r, err) // the client is gone
	})
}

// mayUse refuses to act for a team that the caller does not belong to.
func mayUse(ctx context.Context, team string) error {
	if who := callerOf(ctx); who.Team != "" && who.Team != team {
		return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("your credentials are for team %q, not %q: use --team %s", who.Team, team, who.Team))
	}
	return nil
}

// asEdge is the edge that makes a request: the one that its certificate is for, which a message may only repeat. Administrators, and
// anyone on a farm without TLS, may name any.
func asEdge(ctx context.Context, said string) (string, error) {
	who := callerOf(ctx)
	switch {
	case who.Role != pki.RoleEdge:
		return said, nil
	case said == "" || said == who.Name:
		return who.Name, nil
	}
	return "", connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the certificate is for the edge %q, not %.80q: an edge speaks for itself only", who.Name, said))
}
