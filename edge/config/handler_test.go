package config

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// taken is a Once in memory.
type taken struct {
	mu  sync.Mutex
	all map[string]bool
	err error
}

func (o *taken) Take(_ context.Context, machine string, boot BootID, what string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := machine + " " + boot.String() + " " + what
	if o.err != nil || o.all[key] {
		return false, o.err
	}
	if o.all == nil {
		o.all = map[string]bool{}
	}
	o.all[key] = true
	return true, nil
}

// edge is a Handler over an intent, as edges have it.
type edge struct {
	Handler
	reads []Read
	once  taken
}

func newEdge(in *kilnv1.Intent) *edge {
	index := fleet.NewIndex(in)
	e := &edge{}
	finder := &Finder{
		Index: func() *fleet.Index { return index },
		Keys:  func() []Key { return []Key{testKey(), {9}} },
		Bound: func(a netip.Addr) (Binding, bool) {
			bindings := map[string]Binding{
				"10.0.0.5":  {MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix("10.0.0.5/24"), Window: time.Unix(1100, 0)},
				"10.0.0.6":  {MAC: "52:54:00:00:00:02", Address: netip.MustParsePrefix("10.0.0.6/24"), Window: time.Unix(900, 0)},
				"10.0.0.66": {MAC: "52:54:00:00:00:66", Address: netip.MustParsePrefix("10.0.0.66/24"), Window: time.Unix(1100, 0)},
			}
			b, ok := bindings[a.String()]
			return b, ok
		},
		Now: func() time.Time { return time.Unix(1000, 0) },
	}
	e.Handler = Handler{Find: finder.Find, Once: &e.once, Report: func(r Read) { e.reads = append(e.reads, r) }, Hosts: []string{"169.254.169.254", "metaldata", "metadata.google.internal"},
		Sessions: &Sessions{Keys: finder.Keys, Now: finder.Now}}
	return e
}

type request struct {
	method, path, from, host string
	header                   map[string]string
	old                      bool // HTTP/1.0
}

func (e *edge) do(q request) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL.Path = q.path
	if q.method != "" {
		r.Method = q.method
	}
	r.RemoteAddr = q.from
	r.Host = q.host
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	if q.old {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func publicToken(machine string) string {
	return Sign(testKey(), Token{Machine: machine, Boot: BootID{1}, Expires: time.Unix(2000, 0), Public: true})
}

func tokenOf(machine string, boot byte, expires int64) string {
	return Sign(testKey(), Token{Machine: machine, Boot: BootID{boot}, Expires: time.Unix(expires, 0)})
}

func TestRequests(t *testing.T) {
	good := "/m/" + tokenOf("web-1", 1, 2000)
	const away, web1, bare1, stranger = "192.0.2.1:1", "10.0.0.5:1", "10.0.0.6:1", "10.0.0.66:1"
	for _, c := range []struct {
		name   string
		q      request
		status int
		want   string // that the body holds
		read   Read
	}{
		{"a token from anywhere", request{path: good + "/latest/meta-data/hostname", from: away}, 200, "web-1.example", Read{Machine: "web-1", By: ByToken, What: "/latest/meta-data/hostname", Bytes: 13}},
		{"a token and another host", request{path: good + "/kv", from: away, host: "evil.example"}, 200, "name=web-1\n", Read{Machine: "web-1", By: ByToken, What: "/kv"}},
		{"a token and a proxy", request{path: good + "/kv", from: away, header: map[string]string{"X-Forwarded-For": "10.0.0.6"}}, 200, "name=web-1\n", Read{Machine: "web-1", By: ByToken, What: "/kv"}},
		{"a token alone", request{path: good, from: away}, 200, "latest", Read{Machine: "web-1", By: ByToken, What: "/"}},
		{"a listing without its slash", request{path: good + "/latest/meta-data/", from: away}, 200, "placement/", Read{Machine: "web-1", By: ByToken, What: "/latest/meta-data"}},
		{"an expired token", request{path: "/m/" + tokenOf("web-1", 1, 1000) + "/kv", from: web1}, 403, "has expired; boot the machine again", Read{What: "/kv"}},
		{"a token of a machine that is gone", request{path: "/m/" + tokenOf("gone-1", 1, 2000) + "/kv", from: away}, 404, "no machine is called", Read{What: "/kv"}},
		{"a token of an unknown machine", request{path: "/m/" + tokenOf("52:54:00:00:00:99", 1, 2000) + "/latest/meta-data/hostname", from: away}, 200, "unknown-525400000099",
			Read{Machine: "unknown-525400000099", By: ByToken, What: "/latest/meta-data/hostname", Bytes: 20}},
		{"a token that is none", request{path: "/m/nonsense/kv", from: web1}, 403, "the boot token is not valid", Read{What: "/kv"}},
		{"no token where one is", request{path: "/m//kv", from: web1}, 404, "behind /m/ stands a boot token", Read{What: "/m//kv"}},
		{"an address of a machine that boots", request{path: "/latest/meta-data/hostname", from: web1, host: "169.254.169.254"}, 200, "web-1.example",
			Read{Machine: "web-1", By: ByAddress, What: "/latest/meta-data/hostname", Bytes: 13}},
		{"an address and the name of metaldata, with a port", request{path: "/get/meta/hostname", from: web1, host: "Metaldata:80"}, 200, "web-1.example",
			Read{Machine: "web-1", By: ByAddress, What: "/get/meta/hostname", Bytes: 13}},
		{"an address and another host", request{path: "/kv", from: web1, host: "evil.example"}, 403, "ask the address", Read{What: "/kv"}},
		{"an address of a machine that booted before", request{path: "/kv", from: bare1, host: "metaldata"}, 403, "is of no machine that is booting here", Read{Machine: "bare-1", By: ByAddress, What: "/kv"}},
		{"an address of nobody", request{path: "/kv", from: away, host: "metaldata"}, 403, "is of no machine that is booting here", Read{What: "/kv"}},
		{"an address of an unknown machine", request{path: "/latest/meta-data/hostname", from: stranger, host: "metaldata"}, 200, "unknown-525400000066",
			Read{Machine: "unknown-525400000066", By: ByAddress, What: "/latest/meta-data/hostname", Bytes: 20}},
		{"an address that a header says", request{path: "/kv", from: away, host: "metaldata", header: map[string]string{"X-Forwarded-For": "10.0.0.5"}}, 403, "through a proxy", Read{What: "/kv"}},
		{"a proxy on the machine", request{path: "/kv", from: web1, host: "metaldata", header: map[string]string{"Via": "1.1 x"}}, 403, "through a proxy", Read{What: "/kv"}},
		{"an address that another header says", request{path: "/kv", from: away, host: "metaldata", header: map[string]string{"X-Real-IP": "10.0.0.5", "True-Client-IP": "10.0.0.5"}}, 403, "", Read{What: "/kv"}},
		{"no address", request{path: "/kv", from: "@", host: "metaldata"}, 403, "", Read{What: "/kv"}},
		{"an address as IPv6", request{path: "/latest/meta-data/hostname", from: "[::ffff:10.0.0.5]:1", host: "metaldata"}, 200, "web-1.example",
			Read{Machine: "web-1", By: ByAddress, What: "/latest/meta-data/hostname", Bytes: 13}},
		{"a document that is not there", request{path: good + "/nothing", from: away}, 404, `there is no such document as "nothing"`, Read{Machine: "web-1", By: ByToken, What: "/nothing"}},
		{"a path with dots", request{path: good + "/latest/../kv", from: away}, 404, "no document has", Read{What: Redact(good + "/latest/../kv")}},
		{"a path that climbs", request{path: "/../../etc/passwd", from: web1, host: "metaldata"}, 404, "no document has", Read{What: "/../../etc/passwd"}},
		{"a path with NUL", request{path: "/latest/meta-data/\x00", from: web1, host: "metaldata"}, 404, "no document has", Read{What: "/latest/meta-data/\x00"}},
		{"a path with two slashes", request{path: "/latest//user-data", from: web1, host: "metaldata"}, 404, "no document has", Read{What: "/latest//user-data"}},
		{"a path without end", request{path: "/" + strings.Repeat("a/", 4000), from: web1, host: "metaldata"}, 404, "too long", Read{What: ("/" + strings.Repeat("a/", 4000))[:maxPath]}},
		{"a path of many parts", request{path: "/latest/a/b/c/d/e/f/g/h", from: web1, host: "metaldata"}, 404, "too many parts", Read{What: "/latest/a/b/c/d/e/f/g/h"}},
		{"a path that is no path", request{path: "*", from: web1, host: "metaldata"}, 404, "", Read{What: "*"}},
		{"POST", request{method: "POST", path: good + "/kv", from: away}, 405, "use GET", Read{What: "/kv"}},
		{"PUT for a session without a time", request{method: "PUT", path: "/latest/api/token", from: web1, host: "169.254.169.254"}, 400, "from 1 to 21600",
			Read{Machine: "web-1", By: ByAddress, What: "/latest/api/token", Session: true}},
		{"PUT for a session that is too long", request{method: "PUT", path: "/latest/api/token", from: web1, host: "169.254.169.254", header: map[string]string{sessionTTLHeader: "21601"}}, 400, "from 1 to 21600",
			Read{Machine: "web-1", By: ByAddress, What: "/latest/api/token", Session: true}},
		{"PUT for a session through a proxy", request{method: "PUT", path: "/latest/api/token", from: web1, host: "169.254.169.254", header: map[string]string{sessionTTLHeader: "60", "X-Forwarded-For": "10.0.0.6"}}, 403, "through a proxy",
			Read{What: "/latest/api/token", Session: true}},
		{"PUT for a session of nobody", request{method: "PUT", path: "/latest/api/token", from: away, host: "169.254.169.254", header: map[string]string{sessionTTLHeader: "60"}}, 403, "is of no machine that is booting here",
			Read{What: "/latest/api/token", Session: true}},
		{"GET for a session", request{path: "/latest/api/token", from: web1, host: "169.254.169.254"}, 405, "begins with PUT", Read{What: "/latest/api/token", Session: true}},
		{"PUT for a document", request{method: "PUT", path: "/latest/user-data", from: web1, host: "169.254.169.254"}, 405, "use GET", Read{What: "/latest/user-data"}},
		{"HTTP/1.0 without a host", request{path: "/user_data/cloud-init", from: stranger, old: true}, 200, "", Read{Machine: "unknown-525400000066", By: ByAddress, What: "/user_data/cloud-init", Absent: true}},
		{"HTTP/1.1 without a host", request{path: "/user_data/cloud-init", from: stranger}, 403, "under this name", Read{What: "/user_data/cloud-init"}},
		{"Google's documents as anybody's", request{path: "/computeMetadata/v1/instance/hostname", from: web1, host: "metadata.google.internal"}, 403, "Metadata-Flavor", Read{What: "/computeMetadata/v1/instance/hostname"}},
		{"Google's documents", request{path: "/computeMetadata/v1/instance/hostname", from: web1, host: "metadata.google.internal", header: map[string]string{"Metadata-Flavor": "Google"}}, 200, "web-1.example",
			Read{Machine: "web-1", By: ByAddress, What: "/computeMetadata/v1/instance/hostname", Bytes: 13}},
		{"what clients ask everybody for", request{path: "/latest/meta-data/public-ipv4", from: stranger, host: "169.254.169.254"}, 404, "for this machine",
			Read{Machine: "unknown-525400000066", By: ByAddress, What: "/latest/meta-data/public-ipv4", Absent: true}},
		{"an optional document that nobody gave", request{path: "/nocloud/vendor-data", from: stranger, host: "169.254.169.254"}, 200, "",
			Read{Machine: "unknown-525400000066", By: ByAddress, What: "/nocloud/vendor-data", Absent: true}},
		{"HEAD", request{method: "HEAD", path: good + "/kv", from: away}, 200, "", Read{Machine: "web-1", By: ByToken, What: "/kv"}},
		{"secrets without a token", request{path: "/nocloud/vendor-data", from: web1, host: "metaldata"}, 403, "given once in a boot, to a machine that is confirmed",
			Read{Machine: "web-1", By: ByAddress, What: "/nocloud/vendor-data", Secrets: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(room())
			w := e.do(c.q)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got %d %q, want %d and %q", w.Code, w.Body.String(), c.status, c.want)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Location") != "" {
				t.Errorf("got the header %v", w.Header())
			}
			if w.Code != 200 && (strings.Count(w.Body.String(), "\n") != 1 || strings.Contains(w.Body.String(), "geheim")) {
				t.Errorf("%q is not one sentence", w.Body.String())
			}
			if c.q.method == "HEAD" && (w.Body.Len() > 0 || w.Header().Get("Content-Length") == "0") {
				t.Errorf("HEAD got %d bytes, length %s", w.Body.Len(), w.Header().Get("Content-Length"))
			}
			if len(e.reads) != 1 {
				t.Fatalf("%d reads are reported", len(e.reads))
			}
			got := e.reads[0]
			if got.Status != w.Code || (got.Err == nil) != (w.Code == 200) || strings.Contains(got.What, tokenOf("web-1", 1, 2000)[:40]) {
				t.Errorf("the report is %+v", got)
			}
			if got.By == ByToken && got.Boot != (BootID{1}) || got.By != ByToken && got.Boot != (BootID{}) {
				t.Errorf("the report is of boot %s", got.Boot)
			}
			if c.read.Bytes == 0 {
				got.Bytes = 0
			}
			got.Boot, got.Status, got.Err, got.From = BootID{}, 0, nil, netip.AddrPort{}
			if got != c.read {
				t.Errorf("the report is %+v, want %+v", got, c.read)
			}
		})
	}
}

func TestSecretsAreReadOnceInABoot(t *testing.T) {
	e := newEdge(room())
	first, second := "/m/"+tokenOf("web-1", 1, 2000), "/m/"+tokenOf("web-1", 2, 2000)
	for _, c := range []struct {
		name   string
		q      request
		status int
		want   string
	}{
		{"the length does not count", request{method: "HEAD", path: first + "/nocloud/vendor-data", from: "192.0.2.1:1"}, 200, ""},
		{"what has none does not count", request{path: first + "/nocloud/user-data", from: "192.0.2.1:1"}, 200, "web-1.example"},
		{"the token in another machine's hands", request{path: first + "/nocloud/vendor-data", from: "10.0.0.66:1"}, 403, "shows its boot token"},
		{"once", request{path: first + "/nocloud/vendor-data", from: "192.0.2.1:1"}, 200, "geheim"},
		{"twice", request{path: first + "/nocloud/vendor-data", from: "192.0.2.1:1"}, 403, "were read in this boot already; boot the machine again"},
		{"twice under another path", request{path: first + "/openstack/latest/vendor_data.json", from: "192.0.2.1:1"}, 403, "were read in this boot already"},
		{"public things go on", request{path: first + "/nocloud/user-data", from: "192.0.2.1:1"}, 200, "web-1.example"},
		{"the next boot", request{path: second + "/openstack/latest/vendor_data.json", from: "10.0.0.5:1"}, 200, "geheim"},
	} {
		if w := e.do(c.q); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d %q, want %d and %q", c.name, w.Code, w.Body.String(), c.status, c.want)
		}
	}
	var secrets []int
	for _, r := range e.reads {
		if r.Secrets {
			secrets = append(secrets, r.Status)
		}
	}
	if want := []int{200, 403, 200, 403, 403, 200}; !slices.Equal(secrets, want) {
		t.Errorf("reads of secrets are reported with %v, want %v", secrets, want)
	}
}

func TestSecretsAreNotGiven(t *testing.T) {
	token := "/m/" + tokenOf("web-1", 1, 2000) + "/nocloud/vendor-data"
	if w := newEdge(room()).do(request{path: "/m/" + publicToken("web-1") + "/nocloud/vendor-data", from: "10.0.0.5:1"}); w.Code != 403 {
		t.Errorf("with a public token: got %d %q", w.Code, w.Body.String())
	}
	for _, c := range []struct {
		name   string
		change func(*edge, *kilnv1.Machine)
		status int
	}{
		{"to a machine that is not confirmed", func(_ *edge, m *kilnv1.Machine) { m.Confirmed = false }, 403},
		{"when nobody remembers who read them", func(e *edge, _ *kilnv1.Machine) { e.Once = nil }, 403},
		{"when that cannot be asked", func(e *edge, _ *kilnv1.Machine) { e.once.err = errors.New("no quorum") }, 500},
	} {
		in := room()
		e := newEdge(in)
		c.change(e, in.Machines[0])
		w := e.do(request{path: token, from: "10.0.0.5:1"})
		if w.Code != c.status || strings.Contains(w.Body.String(), "geheim") || strings.Contains(w.Body.String(), "quorum") {
			t.Errorf("%s: got %d %q, want %d", c.name, w.Code, w.Body.String(), c.status)
		}
	}
}

func TestOfManyAtOnceOneGetsTheSecrets(t *testing.T) {
	e := newEdge(room())
	e.Report = nil
	var wait sync.WaitGroup
	codes := make(chan int, 50)
	for range cap(codes) {
		wait.Go(func() {
			codes <- e.do(request{path: "/m/" + tokenOf("web-1", 7, 2000) + "/nocloud/vendor-data", from: "192.0.2.1:1"}).Code
		})
	}
	wait.Wait()
	close(codes)
	got := 0
	for code := range codes {
		if code == http.StatusOK {
			got++
		}
	}
	if got != 1 {
		t.Errorf("%d got the secrets", got)
	}
}

func TestTemplatesThatFailAreTold(t *testing.T) {
	for _, c := range []struct{ name, kind, text, path, want string }{
		{"a value that is not there", fleet.UserData, "a\n{{.Values.none}}", "/nocloud/user-data", "template user-data of machine web-1: line 2: at <.Values.none>: map has no entry for key"},
		{"Ignition that is no JSON", fleet.Ignition, "variant: fcos", "/ignition", "template ignition of machine web-1: it is not JSON (at byte 1); make it with butane"},
		{"Ignition of version 2", fleet.Ignition, `{"ignition": {"version": "2.2.0"}}`, "/ignition", `its ignition.version is "2.2.0", not 3.x; make it with a newer butane`},
		{"Ignition that a value breaks", fleet.Ignition, `{"ignition": {"version": "3.0.0"}, "x": "{{.Values.evil}}"}`, "/ignition", "it is not JSON (at byte"},
		{"meta-data that is no mapping", fleet.MetaData, "- a", "/nocloud/meta-data", "template meta-data of machine web-1: it is not a YAML mapping"},
		{"user data that leaves its directory", fleet.UserData, `{"../x": {"content": ""}}`, "/latest/user-data", `which LinuxKit would write elsewhere; use a name without "/"`},
		{"a secret in a name is not told", fleet.UserData, `{"../{{.Secrets.password}}": {"content": ""}}`, "/latest/user-data", "what it makes of secrets is not of the right form"},
		{"a secret in a version is not told", fleet.Ignition, `{"ignition": {"version": "{{.Secrets.password}}"}}`, "/ignition", "what it makes of secrets is not of the right form"},
	} {
		in := room()
		in.Machines[0].Templates[c.kind] = c.text
		e := newEdge(in)
		w := e.do(request{path: "/m/" + tokenOf("web-1", 1, 2000) + c.path, from: "192.0.2.1:1"})
		if w.Code != 500 || !strings.Contains(w.Body.String(), c.want) || strings.Contains(w.Body.String(), "geheim") {
			t.Errorf("%s: got %d %q, want %q", c.name, w.Code, w.Body.String(), c.want)
		}
		if len(e.once.all) > 0 {
			t.Errorf("%s: what failed counts as read", c.name)
		}
	}
}

func TestServesSaysWhatIsHere(t *testing.T) {
	for path, want := range map[string]bool{"/": false, "/latest/user-data": true, "/2009-04-04": true, "/m/x": true, "/get/meta/hostname": true, "/kv": true,
		"/artifacts/x": false, "/builds/a": false, "": false, "/healthz": false, "/openstack": true, "/machines": false} {
		if got := Serves(path); got != want {
			t.Errorf("%q: got %v", path, got)
		}
	}
}

func TestOverARealConnection(t *testing.T) {
	e := newEdge(room())
	server := httptest.NewServer(e)
	defer server.Close()
	resp, err := http.Get(server.URL + "/m/" + tokenOf("web-1", 1, 2000) + "/openstack/latest/meta_data.json")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.ContentLength <= 0 {
		t.Errorf("got %v", resp)
	}
	if host, _, _ := net.SplitHostPort(server.Listener.Addr().String()); e.reads[0].From.Addr().String() != host {
		t.Errorf("it came from %v", e.reads[0].From)
	}
}

func FuzzPath(f *testing.F) {
	for _, d := range documents() {
		f.Add("/"+d, "v")
		f.Add("/m/"+tokenOf("web-1", 1, 2000)+"/"+d, "{{.Secrets.password}}")
	}
	f.Add("/latest/../../etc/passwd", "../x")
	f.Add("/m/x/%2e%2e", "\x00")
	f.Fuzz(func(t *testing.T, path, value string) {
		in := room()
		in.Machines[0].Values["port"] = value
		in.Machines[0].Values["evil"] = value
		e := newEdge(in)
		w := e.do(request{path: path, from: "10.0.0.5:1", host: "metaldata"})
		if strings.Contains(w.Body.String(), "geheim") && !strings.Contains(path, tokenOf("web-1", 1, 2000)) && !strings.Contains(value, "geheim") {
			t.Errorf("%q gives a secret", path)
		}
		if w.Code != 200 && w.Code != 403 && w.Code != 404 && w.Code != 500 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q gives %d", path, w.Code)
		}
		if token, parts, err := Split(path); err == nil {
			clean := "/" + strings.Join(parts, "/")
			if token != "" {
				clean = prefix + token + clean
			}
			if again, parts2, err := Split(clean); err != nil || again != token || !slices.Equal(parts, parts2) || slices.Contains(parts, "..") {
				t.Errorf("%q is %q, which is %q %q (%v)", path, clean, again, parts2, err)
			}
		}
	})
}
