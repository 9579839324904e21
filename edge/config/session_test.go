package config

import (
	"net/http"
	"testing"
	"time"
)

// session is a token for whoever asks from an address.
func (e *edge) session(t *testing.T, from, ttl string) string {
	t.Helper()
	w := e.do(request{method: "PUT", path: "/latest/api/token", from: from, host: "169.254.169.254", header: map[string]string{sessionTTLHeader: ttl}})
	if w.Code != http.StatusOK || w.Header().Get(sessionTTLHeader) != ttl || w.Body.Len() < 40 {
		t.Fatalf("PUT: %d %v %q", w.Code, w.Header(), w.Body)
	}
	return w.Body.String()
}

func TestSessionsOfEC2(t *testing.T) {
	const web1, stranger = "10.0.0.5:1", "10.0.0.66:1"
	one, other := newEdge(room()), newEdge(room())
	strict := newEdge(room())
	strict.Sessions.Required = true
	later := newEdge(room())
	later.Sessions.Now = func() time.Time { return time.Unix(1060, 0) }
	sooner := newEdge(room())
	sooner.Sessions.Now = func() time.Time { return time.Unix(1059, 0) }
	oldKey := newEdge(room())
	oldKey.Sessions.Keys = func() []Key { return []Key{{1}, testKey()} }
	noKey := newEdge(room())
	noKey.Sessions.Keys = func() []Key { return nil }

	token := one.session(t, web1, "60")
	public := publicToken("web-1")
	for _, c := range []struct {
		name   string
		edge   *edge
		path   string
		from   string
		header []string
		want   int
	}{
		{"no token", one, "/latest/meta-data/hostname", web1, nil, 200},
		{"no token where one is wanted", strict, "/latest/meta-data/hostname", web1, nil, 401},
		{"no token where one is wanted, another date", strict, "/2009-04-04/user-data", web1, nil, 401},
		{"no token where one is wanted, the list of versions", strict, "/", web1, nil, 401},
		{"no token where one is wanted, and a document of another cloud", strict, "/openstack/latest/meta_data.json", web1, nil, 200},
		{"no token where one is wanted, and a boot token", strict, "/m/" + public + "/latest/meta-data/hostname", "192.0.2.1:1", nil, 200},
		{"the token", one, "/latest/meta-data/hostname", web1, []string{token}, 200},
		{"the token where one is wanted", strict, "/2021-03-23/dynamic/instance-identity/document", web1, []string{token}, 200},
		{"the token, at another edge", other, "/latest/meta-data/hostname", web1, []string{token}, 200},
		{"the token, in its last second", sooner, "/latest/meta-data/hostname", web1, []string{token}, 200},
		{"the token, later", later, "/latest/meta-data/hostname", web1, []string{token}, 401},
		{"the token, and the key before is the intent's", oldKey, "/latest/meta-data/hostname", web1, []string{token}, 200},
		{"the token, and no key", noKey, "/latest/meta-data/hostname", web1, []string{token}, 401},
		{"the token of another machine", one, "/latest/meta-data/hostname", stranger, []string{token}, 401},
		{"two tokens", one, "/latest/meta-data/hostname", web1, []string{token, token}, 401},
		{"an empty token", one, "/latest/meta-data/hostname", web1, []string{""}, 401},
		{"a token with more", one, "/latest/meta-data/hostname", web1, []string{token + "A"}, 401},
		{"a boot token", one, "/latest/meta-data/hostname", web1, []string{public}, 401},
		{"a wrong token beside a boot token", one, "/m/" + public + "/latest/meta-data/hostname", "192.0.2.1:1", []string{"x"}, 401},
	} {
		r := newRequest("GET", c.path, c.from)
		r.Header[sessionHeader] = c.header
		if c.header == nil {
			r.Header.Del(sessionHeader)
		}
		if w := answered(c.edge, r); w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, w.Code, w.Body, c.want)
		}
	}
	if w := noKey.do(request{method: "PUT", path: "/latest/api/token", from: web1, host: "169.254.169.254", header: map[string]string{sessionTTLHeader: "1"}}); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a token without a key: %d %s", w.Code, w.Body)
	}
	if _, err := Verify(testKey(), token, time.Unix(1, 0)); err == nil {
		t.Error("a session's token is taken for a boot token")
	}
}

func TestEveryBitOfASessionCounts(t *testing.T) {
	token := signSession(testKey(), "web-1", time.Unix(2000, 0))
	if !verifySession(testKey(), token, "web-1", time.Unix(1999, 0)) {
		t.Fatal("the token is not valid")
	}
	for i := range token {
		for _, c := range []byte("A_9") {
			changed := token[:i] + string(c) + token[i+1:]
			if changed != token && verifySession(testKey(), changed, "web-1", time.Unix(1999, 0)) {
				t.Errorf("%s is valid, too", changed)
			}
		}
	}
}

func FuzzSession(f *testing.F) {
	f.Add(signSession(testKey(), "web-1", time.Unix(2000, 0)), "web-1", int64(1))
	f.Add("", "", int64(0))
	f.Fuzz(func(t *testing.T, text, machine string, now int64) {
		if verifySession(testKey(), text, machine, time.Unix(now, 0)) && now >= 2000 && machine == "web-1" {
			t.Errorf("%q is valid for ever", text)
		}
	})
}
