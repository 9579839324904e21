package pki

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func authority(t testing.TB, farm string) *Authority {
	t.Helper()
	a, err := NewAuthority(farm, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *Authority, id Identity, now time.Time) *Credentials {
	t.Helper()
	key, csr, err := NewRequest(id.Name)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Sign(csr, id, []string{"127.0.0.1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCredentials(a.Certificate(), der, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// meet connects a client to a server and says whom the server saw, or why the client was refused.
func meet(t *testing.T, client, server *tls.Config) (Identity, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	seen := make(chan Identity, 1)
	go func() {
		defer close(seen)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if conn.(*tls.Conn).Handshake() != nil {
			return
		}
		state := conn.(*tls.Conn).ConnectionState()
		who, err := PeerIdentity(&state)
		if err != nil && !errors.Is(err, ErrNoIdentity) {
			return
		}
		seen <- who
		_, _ = conn.Write([]byte("x"))
	}()
	conn, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err == nil {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = io.ReadFull(conn, make([]byte, 1)) // a server's refusal comes with the first read (RFC 8446 §4.4)
	}
	return <-seen, Explain(err)
}

func TestWhoMayTalkToWhom(t *testing.T) {
	farm, other := authority(t, "kiln"), authority(t, "other")
	now := time.Now()
	boss := issue(t, farm, Identity{Role: RoleCoordinator, Name: "a"}, now)
	peer := issue(t, farm, Identity{Role: RoleCoordinator, Name: "b"}, now)
	builder := issue(t, farm, Identity{Role: RoleBuilder, Name: "b1"}, now)
	old := issue(t, farm, Identity{Role: RoleBuilder, Name: "old", Expires: now.Add(-time.Hour)}, now)
	stranger := issue(t, other, Identity{Role: RoleBuilder, Name: "x"}, now)
	theirs := issue(t, other, Identity{Role: RoleCoordinator, Name: "x"}, now)
	peerClient, _ := peer.PeerTLS("p")
	builderClient, _ := builder.PeerTLS("p")
	_, peerServer := boss.PeerTLS("p")
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		sees           string
		want           string // in the client's error; empty: it is let in
	}{
		{"a builder and a coordinator", builder.ClientTLS(), boss.ServerTLS(), "builder b1", ""},
		{"somebody without a certificate", PinnedTLS(farm.Fingerprint()), boss.ServerTLS(), " ", ""},
		{"two coordinators", peerClient, peerServer, "coordinator b", ""},
		{"a builder as a coordinator", builderClient, peerServer, "", "does not take your certificate"},
		{"a builder whose certificate has expired", old.ClientTLS(), boss.ServerTLS(), "", "expired"},
		{"another farm's builder", stranger.ClientTLS(), boss.ServerTLS(), "", "another farm"},
		{"another farm's coordinator", builder.ClientTLS(), theirs.ServerTLS(), "", "another farm"},
		{"another farm's token", PinnedTLS(other.Fingerprint()), boss.ServerTLS(), "", "not of the farm that the join token is for"},
		{"a builder as a server", builder.ClientTLS(), builder.ServerTLS(), "", "certificate"},
		{"a builder at a port for edges", builder.ClientTLS(), boss.RoleTLS(RoleEdge), "", "does not take your certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, err := meet(t, c.client, c.server)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want %q in it", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(who.Role) + " " + who.Name; got != c.sees {
				t.Errorf("the server saw %q, want %q", got, c.sees)
			}
		})
	}
}

func TestANewCertificateCountsFromTheNextHandshake(t *testing.T) {
	farm := authority(t, "kiln")
	boss := issue(t, farm, Identity{Role: RoleCoordinator, Name: "a"}, time.Now())
	c := issue(t, farm, Identity{Role: RoleBuilder, Name: "b1", Expires: time.Now().Add(-time.Minute)}, time.Now())
	client := c.ClientTLS()
	if _, err := meet(t, client, boss.ServerTLS()); err == nil {
		t.Fatal("the expired certificate was taken")
	}
	key, csr, err := NewRequest("b1")
	if err != nil {
		t.Fatal(err)
	}
	der, err := farm.Sign(csr, Identity{Role: RoleBuilder, Name: "b1"}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Replace(der, key); err != nil {
		t.Fatal(err)
	}
	if _, err := meet(t, client, boss.ServerTLS()); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesHoldOnClocksThatAreBehind(t *testing.T) {
	farm := authority(t, "kiln")
	c := issue(t, farm, Identity{Role: RoleBuilder, Name: "b1"}, time.Now())
	for _, test := range []struct {
		off  time.Duration
		want string
	}{
		{0, ""}, {-12 * time.Hour, ""}, {12 * time.Hour, ""}, {-48 * time.Hour, "is this machine's clock right?"}, {366 * 24 * time.Hour, "expired on"},
	} {
		err := c.Check(time.Now().Add(test.off))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("a clock that is %s off: %v, want %q", test.off, err, test.want)
		}
	}
	if c.Worn(time.Now()) || !c.Worn(time.Now().Add(300*24*time.Hour)) {
		t.Error("a certificate of a year is worn after 300 days, and not at once")
	}
}

func TestCredentialsAndAuthorityComeBackFromDisk(t *testing.T) {
	dir := t.TempDir()
	farm := authority(t, "kiln")
	if err := farm.Save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Farm() != "kiln" || again.Fingerprint() != farm.Fingerprint() {
		t.Error("another authority came back")
	}
	c := issue(t, again, Identity{Role: RoleSubmit, Name: "ci", Team: "red"}, time.Now())
	path := filepath.Join(dir, "sub", "ci.pem")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := LoadCredentials(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.Identity(); got != c.Identity() || got.Team != "red" || got.Farm != "kiln" {
		t.Errorf("identity %+v, want %+v", got, c.Identity())
	}
}

func TestOnlyAWholeTokenOfThisFarmCounts(t *testing.T) {
	farm, other, twin := authority(t, "kiln"), authority(t, "other"), authority(t, "kiln")
	now := time.Now()
	token := func(a *Authority, life time.Duration) string {
		s, err := a.Token(Claims{Farm: a.Farm(), Role: RoleBuilder, Expires: now.Add(life)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := token(farm, time.Hour)
	forged, _ := twin.Token(Claims{Farm: "kiln", Role: RoleAdmin, Expires: now.Add(time.Hour)})
	for _, c := range []struct{ name, token, want string }{
		{"whole", good, ""},
		{"with blanks around", " " + good + "\n", ""},
		{"cut", good[:len(good)-8], "was it copied whole?"},
		{"cut in the middle", good[:40], "not a join token"},
		{"changed", strings.Replace(good, ".", ".A", 1), "copied whole"},
		{"empty", "", "not a join token"},
		{"something else", "hunter2", "not a join token"},
		{"another farm's", token(other, time.Hour), `for the farm "other"`},
		{"a farm's of the same name", forged, "another farm that is called"},
		{"expired", token(farm, -time.Minute), "kiln farm token --role builder"},
	} {
		claims, err := farm.CheckToken(c.token, now)
		if c.want == "" {
			if err != nil || claims.Role != RoleBuilder || claims.Farm != "kiln" {
				t.Errorf("%s: %+v, %v", c.name, claims, err)
			}
			continue
		}
		if !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.want)
		}
	}
	if _, ca, err := ReadToken(good); err != nil || ca != farm.Fingerprint() {
		t.Errorf("its owner reads the wrong authority from it: %v", err)
	}
}

func TestCredentialsThatDoNotFitAreRefused(t *testing.T) {
	farm, other := authority(t, "kiln"), authority(t, "other")
	c := issue(t, farm, Identity{Role: RoleBuilder, Name: "b"}, time.Now())
	key, csr, _ := NewRequest("b")
	theirs, err := other.Sign(csr, Identity{Role: RoleBuilder, Name: "b"}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Replace(theirs, key); err == nil {
		t.Error("another farm's certificate was taken")
	}
	ours, err := farm.Sign(csr, Identity{Role: RoleBuilder, Name: "b"}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if wrong, _, _ := NewRequest("b"); c.Replace(ours, wrong) == nil {
		t.Error("another certificate's key was taken")
	}
	if _, err := LoadCredentials(t.Context(), filepath.Join(t.TempDir(), "none.pem")); err == nil || !strings.Contains(err.Error(), "kiln login") {
		t.Errorf("error %v", err)
	}
}

func FuzzReadToken(f *testing.F) {
	farm := authority(f, "kiln")
	good, err := farm.Token(Claims{Farm: "kiln", Role: RoleSubmit, Team: "t", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	claims, err := farm.CheckToken(good, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("kiln1..")
	f.Fuzz(func(t *testing.T, token string) {
		// Another spelling of the signature may count; other claims never.
		if c, err := farm.CheckToken(token, time.Now()); err == nil && c != claims {
			t.Errorf("%q counts as %+v", token, c)
		}
	})
}

func FuzzParseCredentials(f *testing.F) {
	c := issue(f, authority(f, "kiln"), Identity{Role: RoleBuilder, Name: "b"}, time.Now())
	path := filepath.Join(f.TempDir(), "c.pem")
	if err := c.Save(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCredentials(data); err == nil && c.Identity().Name == "" {
			t.Error("credentials of nobody")
		}
	})
}
