package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/edge/config"
)

// farmOnce is what edges ask, which may be away.
type farmOnce struct {
	mu    sync.Mutex // guards what follows
	away  bool
	taken map[string]bool
}

func (o *farmOnce) Take(_ context.Context, machine string, boot config.BootID, what string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		return false, errors.New("no leader")
	}
	key := machine + " " + boot.String() + " " + what
	fresh := !o.taken[key]
	o.taken[key] = true
	return fresh, nil
}

// secretive gives the machine of a room a secret, and has its edge ask once.
func (r *roomOf) secretive(t *testing.T, once config.Once) {
	t.Helper()
	in := proto.CloneOf(r.cfg.Intents.Now())
	in.Revision++
	in.Machines[0].Confirmed = true
	in.Machines[0].Secrets = map[string]string{"password": "hunter2"}
	in.Machines[0].Templates = map[string]string{"user-data": "password={{ .Secrets.password }}"}
	r.cfg.Once = once
	e, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Edge = e
	r.cfg.Intents.Set(in)
	r.seen.Gave(known, netip.MustParsePrefix("10.0.0.21/24"), time.Now().Add(time.Hour))
}

func TestSecretsAreReadOnceAtAllEdges(t *testing.T) {
	once := &farmOnce{taken: map[string]bool{}}
	one, two := newRoomOf(t), newRoomOf(t)
	one.secretive(t, once)
	two.secretive(t, once)
	token := func() string {
		script := one.get(t, "/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
		_, rest, ok := strings.Cut(script, "kiln.config=http://10.0.0.1:7380/m/")
		if !ok {
			t.Fatalf("the script has no token:\n%s", script)
		}
		text, _, _ := strings.Cut(rest, " ")
		return text
	}
	boot := token()
	once.away = true
	if w := one.get(t, "/m/"+boot+"/nocloud/user-data", "10.0.0.21"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("while the farm is away: %d %s", w.Code, w.Body)
	}
	once.away = false
	for _, c := range []struct {
		name  string
		edge  *roomOf
		token string
		want  int
	}{
		{"the first edge", one, boot, http.StatusOK},
		{"the other edge", two, boot, http.StatusForbidden},
		{"the first edge again", one, boot, http.StatusForbidden},
		{"the next boot", two, token(), http.StatusOK},
	} {
		w := c.edge.get(t, "/m/"+c.token+"/nocloud/user-data", "10.0.0.21")
		if given := strings.Contains(w.Body.String(), "hunter2"); w.Code != c.want || given != (c.want == http.StatusOK) {
			t.Errorf("%s: %d %s, want %d", c.name, w.Code, w.Body, c.want)
		}
	}
}

// ask is a request of the machine of a room at an address that programs made for clouds ask.
func (r *roomOf) ask(t *testing.T, at, method, path string, header map[string]string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// At the metadata address EC2's tree begins where people are shown a page elsewhere, and what is optional and absent is no event.
func TestTheMetadataAddress(t *testing.T) {
	r := newRoomOf(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.ServeMetadata(ctx, l) }()
	defer func() { stop(); <-served }()
	at := "http://" + l.Addr().String()
	token, _, err := r.token(netip.Addr{}, must(r.cfg.Intents.Index().Named("web")))
	if err != nil {
		t.Fatal(err)
	}
	mine := "/m/" + token
	for _, c := range []struct {
		method, path string
		header       map[string]string
		status       int
		want         string
	}{
		{"GET", "/", nil, 403, "is of no machine that is booting here"}, // this test has no machine's address
		{"GET", mine + "/", nil, 200, "2009-04-04\n"},
		{"GET", mine + "/latest/meta-data/hostname", nil, 200, "web"},
		{"GET", mine + "/nocloud/vendor-data", nil, 200, ""},
		{"GET", mine + "/latest/meta-data/public-ipv4", nil, 404, "for this machine"},
		{"PUT", mine + "/latest/api/token", map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "60"}, 200, ""},
		{"PUT", "/latest/api/token", map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "60"}, 403, "is of no machine that is booting here"},
		{"GET", "/healthz", nil, 200, "ok"},
		{"GET", "/nothing", nil, 404, ""},
	} {
		if status, body := r.ask(t, at, c.method, c.path, c.header); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %q, want %d and %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
	var told []string
	for _, e := range r.happened() {
		told = append(told, e.GetDetail())
	}
	if got, want := strings.Join(told, ", "), "/, /latest/meta-data/hostname"; got != want {
		t.Errorf("the timeline has %q, want %q", got, want)
	}
	if w := r.get(t, "/", "10.0.0.21"); !strings.Contains(w.Body.String(), "<html") {
		t.Errorf("elsewhere there is no page but %q", w.Body)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
