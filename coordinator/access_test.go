package coordinator

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

func TestEachRoleMayDoItsPart(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ctx := context.Background()
	calls := map[string]func(*http.Client, string) error{
		"submit": func(w *http.Client, base string) error {
			_, err := kilnv1connect.NewFarmServiceClient(w, base).Submit(ctx, connect.NewRequest(&kilnv1.SubmitRequest{Spec: c.spec()}))
			return err
		},
		"status": func(w *http.Client, base string) error {
			_, err := kilnv1connect.NewFarmServiceClient(w, base).Status(ctx, connect.NewRequest(&kilnv1.StatusRequest{}))
			return err
		},
		"token": func(w *http.Client, base string) error {
			_, err := kilnv1connect.NewAdminServiceClient(w, base).Token(ctx, connect.NewRequest(&kilnv1.TokenRequest{Role: "builder"}))
			return err
		},
		"announce": func(w *http.Client, base string) error {
			_, err := kilnv1connect.NewAdminServiceClient(w, base).Announce(ctx, connect.NewRequest(&kilnv1.AnnounceRequest{Member: &kilnv1.Member{Id: "evil", Address: "127.0.0.1:1", Level: 9}}))
			return err
		},
		"blob": func(w *http.Client, base string) error {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPut, base+"/v1/blobs/"+cache.SumBytes([]byte("x")).String(), strings.NewReader("x"))
			res, err := w.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusCreated {
				return connect.NewError(map[int]connect.Code{401: connect.CodeUnauthenticated, 403: connect.CodePermissionDenied}[res.StatusCode], fmt.Errorf("%s", res.Status))
			}
			return nil
		},
	}
	anyone := &http.Client{Transport: &http.Transport{TLSClientConfig: pinned(c.authority)}}
	const ok = connect.Code(0)
	for _, test := range []struct {
		who  string
		web  *http.Client
		want map[string]connect.Code
	}{
		{"an administrator", c.web(pki.RoleAdmin, "ann", ""), map[string]connect.Code{"submit": ok, "status": ok, "token": ok, "announce": connect.CodePermissionDenied, "blob": ok}},
		{"a submitter", c.web(pki.RoleSubmit, "ci", ""), map[string]connect.Code{"submit": ok, "status": ok, "token": connect.CodePermissionDenied, "announce": connect.CodePermissionDenied, "blob": ok}},
		{"a submitter of that team", c.web(pki.RoleSubmit, "ci", "team"), map[string]connect.Code{"submit": ok}},
		{"a submitter of another team", c.web(pki.RoleSubmit, "ci", "other"), map[string]connect.Code{"submit": connect.CodePermissionDenied}},
		{"a builder", c.web(pki.RoleBuilder, "b1", ""), map[string]connect.Code{"submit": connect.CodePermissionDenied, "status": ok, "token": connect.CodePermissionDenied, "announce": connect.CodePermissionDenied, "blob": connect.CodePermissionDenied}},
		{"a stranger", anyone, map[string]connect.Code{"submit": connect.CodeUnauthenticated, "status": connect.CodeUnauthenticated, "token": connect.CodeUnauthenticated, "announce": connect.CodeUnauthenticated, "blob": connect.CodeUnauthenticated}},
	} {
		for what, want := range test.want {
			for _, at := range []*member{c.leading(), c.follower()} {
				err := calls[what](test.web, "https://"+at.address)
				if got := codeOf(err); got != want {
					t.Errorf("%s, %s: %v (%v), want %v", test.who, what, got, err, want)
				}
			}
		}
	}
}

// An edge is who its certificate says that it is, whatever its messages say.
func TestAnEdgeSpeaksForItselfOnly(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	calls := map[string]func(room kilnv1connect.RoomServiceClient, edge string) error{
		"Report": func(room kilnv1connect.RoomServiceClient, edge string) error {
			_, err := room.Report(c.ctx(), connect.NewRequest(&kilnv1.ReportRequest{Edge: edge}))
			return err
		},
		"WatchIntent": func(room kilnv1connect.RoomServiceClient, edge string) error {
			ctx, cancel := context.WithCancel(c.ctx())
			defer cancel()
			stream, err := room.WatchIntent(ctx, connect.NewRequest(&kilnv1.WatchIntentRequest{Edge: edge, Url: "http://192.0.2.1"}))
			if err != nil {
				return err
			}
			defer stream.Close()
			for stream.Receive() {
				if edges := stream.Msg().GetEdges(); len(edges) > 0 {
					if got := edges[0].GetName(); got != "e1" {
						return fmt.Errorf("it is known as %q", got)
					}
					return nil
				}
			}
			return stream.Err()
		},
		"Bind": func(room kilnv1connect.RoomServiceClient, edge string) error {
			b := bindOf("02:00:00:00:00:01", "10.0.0.10", 1000)
			b.Edge = edge
			_, err := room.Bind(c.ctx(), connect.NewRequest(&kilnv1.BindRequest{Commands: []*kilnv1.BindCommand{b}}))
			return err
		},
		"Grant": func(room kilnv1connect.RoomServiceClient, edge string) error {
			_, err := room.Grant(c.ctx(), connect.NewRequest(&kilnv1.GrantRequest{Edge: edge, Subnet: "rack", Size: 1}))
			return err
		},
	}
	change := &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "rack", Prefix: "10.0.0.0/24", Pools: []*kilnv1.AddressRange{{From: "10.0.0.10", To: "10.0.0.19"}}}}}
	admin := kilnv1connect.NewRoomServiceClient(c.web(pki.RoleAdmin, "ann", ""), "https://"+c.leading().address)
	if _, err := admin.Change(c.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: change})); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		for edge, want := range map[string]connect.Code{"e1": 0, "": 0, "e2": connect.CodePermissionDenied} {
			for _, at := range []*member{c.leading(), c.follower()} {
				err := call(kilnv1connect.NewRoomServiceClient(c.web(pki.RoleEdge, "e1", ""), "https://"+at.address), edge)
				if got := codeOf(err); got != want {
					t.Errorf("%s as %q: %v (%v), want %v", name, edge, got, err, want)
				}
			}
		}
	}
	for _, b := range func() (all []*kilnv1.Binding) {
		c.leading().coord.fsm.View(func(m *state.Machine) { all = m.Bindings() })
		return all
	}() {
		if b.GetEdge() != "e1" {
			t.Errorf("the binding of %s is by %q", b.GetAddress(), b.GetEdge())
		}
	}
}

func codeOf(err error) connect.Code {
	if err == nil {
		return 0
	}
	return connect.CodeOf(err)
}

func TestACertificateComesForAToken(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	base := "https://" + c.follower().address
	token := func(role string) string {
		res, err := c.admin(c.follower()).Token(c.ctx(), connect.NewRequest(&kilnv1.TokenRequest{Role: role}))
		if err != nil {
			t.Fatal(err)
		}
		return res.Msg.GetToken()
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: pinned(c.authority)}}
	foreign, err := pki.NewAuthority("other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := foreign.Token(pki.Claims{Farm: "other", Role: pki.RoleBuilder, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	late, err := c.authority.Token(pki.Claims{Farm: "kiln", Role: pki.RoleBuilder, Expires: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, token, id string
		want            connect.Code
		withKey         bool
	}{
		{"a builder", token("builder"), "b1", 0, false},
		{"a coordinator gets the authority's key", token("coordinator"), "d", 0, true},
		{"a coordinator's id that is taken", token("coordinator"), "a", connect.CodeAlreadyExists, false},
		{"no token and no certificate", "", "b2", connect.CodeUnauthenticated, false},
		{"no token at all", "nonsense", "b2", connect.CodeUnauthenticated, false},
		{"another farm's token", theirs, "b2", connect.CodeUnauthenticated, false},
		{"a token that has expired", late, "b2", connect.CodeUnauthenticated, false},
		{"an id with a slash", token("builder"), "a/b", connect.CodeInvalidArgument, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, csr, err := pki.NewRequest(test.id)
			if err != nil {
				t.Fatal(err)
			}
			res, err := kilnv1connect.NewJoinServiceClient(stranger, base).Join(c.ctx(), connect.NewRequest(&kilnv1.JoinRequest{Token: test.token, Id: test.id, Csr: csr}))
			if codeOf(err) != test.want {
				t.Fatalf("error %v, want code %v", err, test.want)
			}
			if err != nil {
				return
			}
			if (len(res.Msg.GetCaKey()) > 0) != test.withKey {
				t.Errorf("the authority's key has %d bytes", len(res.Msg.GetCaKey()))
			}
			if n := len(res.Msg.GetTopology().GetCoordinators()); n != 3 {
				t.Errorf("%d coordinators are told, want 3", n)
			}
		})
	}
}

// pinned trusts the farm's authority by its digest, as one who has a token does.
func pinned(a *pki.Authority) *tls.Config {
	return pki.PinnedTLS([32]byte(cache.SumBytes(a.Certificate()).Sum()))
}
