package registry

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

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
		if err := w.Fetch(context.Background(), source, &kilnv1.BuildSpec{Team: c.team}); err != nil {
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
