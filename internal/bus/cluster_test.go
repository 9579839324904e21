package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// trust is a farm's authority in a test.
type trust struct {
	t *testing.T
	a *pki.Authority
}

func newTrust(t *testing.T, farm string) trust {
	t.Helper()
	a, err := pki.NewAuthority(farm, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return trust{t, a}
}

func (x trust) credentials(role pki.Role, name string) *pki.Credentials {
	x.t.Helper()
	key, csr, err := pki.NewRequest(name)
	if err != nil {
		x.t.Fatal(err)
	}
	der, err := x.a.Sign(csr, pki.Identity{Farm: x.a.Farm(), Role: role, Name: name}, nil, time.Now())
	if err != nil {
		x.t.Fatal(err)
	}
	c, err := pki.NewCredentials(x.a.Certificate(), der, key)
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

func (x trust) server(name string, routes ...string) *Server {
	x.t.Helper()
	c := x.credentials(pki.RoleCoordinator, name)
	client, peer := c.PeerTLS()
	s, err := Start(Options{
		Name: name, Listen: "127.0.0.1:0", TLS: c.ServerTLS(), Farm: "kiln",
		Peers: &Peers{Cluster: "kiln", Listen: "127.0.0.1:0", Routes: routes, Client: client, Server: peer},
	})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(s.Close)
	return s
}

func (x trust) dial(role pki.Role, name string, servers ...*Server) *nats.Conn {
	x.t.Helper()
	o := DialOptions{Name: name, TLS: x.credentials(role, name).ClientTLS(), Inbox: Inbox(name)}
	for _, s := range servers {
		o.URLs = append(o.URLs, s.URL())
	}
	nc, err := Dial(o)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(nc.Close)
	return nc
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func answer(t *testing.T, nc *nats.Conn, text int64) *Service {
	t.Helper()
	s, err := Serve(nc, For("kiln").AllLeases(), 8, func(context.Context, *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
		return &kilnv1.LeaseReply{RetryMs: text}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asked(nc *nats.Conn, builder string) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var reply kilnv1.LeaseReply
	err := Request(ctx, nc, For("kiln").Lease(builder), &kilnv1.LeaseRequest{}, &reply)
	return reply.RetryMs, err
}

func TestABuilderIsAnsweredThroughAnyServer(t *testing.T) {
	x := newTrust(t, "kiln")
	a := x.server("a")
	b := x.server("b", a.PeersAddress())
	c := x.server("c", a.PeersAddress(), b.PeersAddress())
	eventually(t, "all are connected", func() bool { return c.Peers() == 2 && b.Peers() == 2 })
	leader, err := c.Connect("leader")
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Close()
	defer answer(t, leader, 7).Close()
	builder := x.dial(pki.RoleBuilder, "b1", a, b)
	eventually(t, "the leader answers", func() bool { n, err := asked(builder, "b1"); return err == nil && n == 7 })

	// The server that the builder talks to dies; it goes on with another one.
	if strings.HasSuffix(a.URL(), builder.ConnectedAddr()) {
		a.Close()
	} else {
		b.Close()
	}
	eventually(t, "the leader answers through the other server", func() bool { n, err := asked(builder, "b1"); return err == nil && n == 7 })
}

func TestServersComeAndGoWhileTheOthersRun(t *testing.T) {
	x := newTrust(t, "kiln")
	a := x.server("a")
	b := x.server("b")
	builder := x.dial(pki.RoleBuilder, "b1", b)
	if _, err := asked(builder, "b1"); !errors.Is(err, ErrNoLeader) {
		t.Fatalf("error %v, want no leader", err)
	}
	leader, err := a.Connect("leader")
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Close()
	defer answer(t, leader, 9).Close()
	if err := b.SetRoutes([]string{a.PeersAddress()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the leader answers", func() bool { n, err := asked(builder, "b1"); return err == nil && n == 9 })
	if err := b.SetRoutes(nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the route is gone", func() bool { return b.Peers() == 0 })
}

func TestARoleHasItsRightsAndNoMore(t *testing.T) {
	x := newTrust(t, "kiln")
	s := x.server("a")
	leader := x.dial(pki.RoleCoordinator, "a", s)
	defer answer(t, leader, 1).Close()
	builder, other := x.dial(pki.RoleBuilder, "b1", s), x.dial(pki.RoleBuilder, "b2", s)
	if n, err := asked(builder, "b1"); err != nil || n != 1 {
		t.Errorf("a builder's own request: %d, %v", n, err)
	}
	if _, err := asked(builder, "b2"); err == nil {
		t.Error("a builder asks in another's name")
	}
	subjects := For("kiln")
	for _, subject := range []string{subjects.Stop("b1"), subjects.AllLeases(), Inbox("b1") + ".>", ">"} {
		if _, err := other.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("permissions violation for subscription to %q", subject)
		eventually(t, "subscribing to "+subject+" is refused", func() bool {
			err := other.LastError()
			return err != nil && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want))
		})
	}
	for _, role := range []pki.Role{pki.RoleSubmit, pki.RoleEdge, pki.RoleAdmin} {
		nc, err := Dial(DialOptions{URLs: []string{s.URL()}, Name: "x", TLS: x.credentials(role, "x").ClientTLS()})
		if err == nil {
			nc.Close()
			t.Errorf("the role %s is let in", role)
		}
	}
}

func TestWhyTheBusCannotBeReachedIsTold(t *testing.T) {
	x, foreign := newTrust(t, "kiln"), newTrust(t, "other")
	s := x.server("a")
	locked, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "u", Password: "secret-word", NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	locked.Start()
	defer locked.Shutdown()
	if !locked.ReadyForConnections(5 * time.Second) {
		t.Fatal("the external server did not start")
	}
	at := locked.Addr().String()
	small, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, MaxPayload: 16 << 10, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	small.Start()
	defer small.Shutdown()
	if !small.ReadyForConnections(5 * time.Second) {
		t.Fatal("the small server did not start")
	}
	for _, c := range []struct {
		name string
		o    DialOptions
		want string
	}{
		{"nobody is there", DialOptions{URLs: []string{"nats://127.0.0.1:1"}}, "nothing answers at the bus address nats://127.0.0.1:1"},
		{"another farm's certificate", DialOptions{URLs: []string{s.URL()}, TLS: foreign.credentials(pki.RoleBuilder, "b").ClientTLS()}, "another farm"},
		{"no certificate", DialOptions{URLs: []string{s.URL()}, TLS: pki.PinnedTLS(x.a.Fingerprint())}, "does not let builder in"},
		{"a password is wanted", DialOptions{URLs: []string{"nats://" + at}}, "needs a user and a password (--nats"},
		{"the password is wrong", DialOptions{URLs: []string{"nats://u:guessed-word@" + at}}, "needs a user and a password"},
		{"the password is wrong, and no scheme is there", DialOptions{URLs: []string{"u:guessed-word@" + at}}, "needs a user and a password"},
		{"a token is wrong", DialOptions{URLs: []string{"nats://guessed-word@" + at}}, "needs a user and a password"},
		{"the password has a sign that URLs cannot have", DialOptions{URLs: []string{"nats://u:guessed-word%zz@" + at}}, "URL number 1 cannot be read"},
		{"messages may be small only", DialOptions{URLs: []string{"nats://" + small.Addr().String()}}, "raise max_payload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Name = "builder"
			nc, err := Dial(c.o)
			if err == nil {
				nc.Close()
				t.Fatal("it was let in")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "guessed-word") {
				t.Errorf("error %q, want %q in it and no password", err, c.want)
			}
		})
	}
	nc, err := Dial(DialOptions{Name: "builder", URLs: []string{fmt.Sprintf("nats://u:secret-word@%s", at)}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	defer answer(t, nc, 3).Close()
	if n, err := asked(nc, "b1"); err != nil || n != 3 {
		t.Errorf("on an external bus: %d, %v", n, err)
	}
}
