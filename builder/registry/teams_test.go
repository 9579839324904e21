package registry

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// guarded is a registry that only answers who logs in as a certain user, and its client with a place for teams' files.
func guarded(t *testing.T, user, password string) *world {
	t.Helper()
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	w.Registry.teams = teams{t.TempDir()}
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		rw.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
		rw.WriteHeader(http.StatusUnauthorized)
		return true
	})
	return w
}

func (w *world) teamFile(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.teams.dir, path)
	check(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(w.t, os.WriteFile(path, []byte(text), 0o600))
}

func TestEachTeamHasItsOwnLogins(t *testing.T) {
	w := guarded(t, "web", "secret")
	w.teamFile("web/config.json", `{"auths":{"`+w.host+`":{"username":"web","password":"secret"}}}`)
	w.teamFile("db/config.json", `{"auths":{"`+w.host+`":{"username":"db","password":"wrong"}}}`)
	req := w.request("lab/web:1", "linux/amd64")
	req.Pull = true
	for _, c := range []struct {
		team string
		ok   bool
	}{{"web", true}, {"db", false}, {"none", false}, {"../" + filepath.Base(w.teams.dir) + "/web", false}, {"web", true}} {
		req.Team = c.team
		lock, err := w.Resolve(context.Background(), req)
		if (err == nil) != c.ok {
			t.Errorf("team %s: %v, want it to go well: %v", c.team, err, c.ok)
		}
		if err != nil {
			wantSentence(t, err, "does not let you read")
			continue
		}
		layer := lock.GetImages()[0].GetLayers()[0]
		source := &kilnv1.Source{Digest: layer.GetDigest(), Reference: req.References[0].Name, Size: layer.GetSize()}
		if err := w.Fetch(context.Background(), source, &kilnv1.BuildSpec{Team: c.team}, quiet); err != nil {
			t.Errorf("team %s: fetch: %v", c.team, err)
		}
	}
}

func TestALoginThatChangesIsReadAgain(t *testing.T) {
	w := guarded(t, "web", "secret")
	req := w.request("lab/web:1", "linux/amd64")
	req.Team = "web"
	w.teamFile("web/config.json", `{}`)
	if _, err := w.Resolve(context.Background(), req); err == nil {
		t.Fatal("it went well without a login")
	}
	w.teamFile("web/config.json", `{"auths":{"`+w.host+`":{"username":"web","password":"secret"}}}`)
	if _, err := w.Resolve(context.Background(), req); err != nil {
		t.Error(err)
	}
}

func TestATeamsMirrorsStandBehindThoseOfTheBuild(t *testing.T) {
	w := newWorld(t)
	w.teams = teams{t.TempDir()}
	w.push("lab/web:1", indexOf(t, "amd64"))
	w.teamFile("web/mirrors.json", `{"docker.io": "http://`+w.host+`", "quay.io": "http://127.0.0.1:1"}`)
	req := w.request("lab/web:1", "linux/amd64")
	req.Team = "web"
	req.References[0].Name = "docker.io/lab/web:1"
	if _, err := w.Resolve(context.Background(), req); err != nil {
		t.Errorf("over the team's mirror: %v", err)
	}
	req.References[0].Name = "quay.io/lab/web:1"
	req.Mirrors = map[string]string{"quay.io": "http://" + w.host}
	if _, err := w.Resolve(context.Background(), req); err != nil {
		t.Errorf("over the build's own mirror: %v", err)
	}
	w.teamFile("web/mirrors.json", `["docker.io"]`)
	req.Pull = true
	_, err := w.Resolve(context.Background(), req)
	wantSentence(t, err, "the mirrors of team web", "cannot be read")
}

func TestAMirrorIsAURL(t *testing.T) {
	for mirror, want := range map[string]string{"ftp://mirror.example": "neither http nor https", "https://": "names no host", "https://Mirror Example": "", "https://mirror.example/with?x=1": "cannot be the beginning"} {
		w := newWorld(t)
		w.teams = teams{t.TempDir()}
		w.teamFile("web/mirrors.json", `{"docker.io": "`+mirror+`"}`)
		req := w.request("lab/web:1", "linux/amd64")
		req.Team = "web"
		req.References[0].Name = "docker.io/lab/web:1"
		_, err := w.Resolve(context.Background(), req)
		wantSentence(t, err, mirror, want, "write it as a URL, such as https://mirror.example.com")
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct{ ref, mirror, want, scheme string }{
		{"docker.io/library/alpine:3", "http://mirror:5000", "mirror:5000/library/alpine:3", "http"},
		{"docker.io/library/alpine:3", "https://mirror/", "mirror/library/alpine:3", "https"},
		{"docker.io/library/alpine" + digest, "http://127.0.0.1:5000", "127.0.0.1:5000/library/alpine" + digest, "http"},
		{"quay.io/team/web:1", "https://lab.example/quay/proxy", "lab.example/quay/proxy/team/web:1", "https"},
		{"quay.io/team/web:1", "lab.example:5000", "lab.example:5000/team/web:1", ""},
	} {
		ref, err := name.ParseReference(c.ref)
		check(t, err)
		got, scheme, err := mirrored(ref, c.mirror)
		if err != nil || got.Name() != c.want || scheme != c.scheme {
			t.Errorf("%s at %s: got %v %q, %v; want %s %q", c.ref, c.mirror, got, scheme, err, c.want, c.scheme)
		}
	}
}
