package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/builder/registry/regtest"
	"github.com/kiln-farm/kiln/cli/ui"
)

// badDay is a registry's manner, and what kiln build makes of it.
type badDay struct {
	name   string
	manner func(*regtest.Registry) []regtest.Manner
	docker string   // docker's configuration, with HOST for the registry
	want   []string // parts of the sentence; nil: the image is built
	told   string   // part of the log
}

func badDays() []badDay {
	day := func(m ...regtest.Manner) func(*regtest.Registry) []regtest.Manner {
		return func(*regtest.Registry) []regtest.Manner { return m }
	}
	const bearer = `Bearer realm="http://HOST/token",service="reg"`
	return []badDay{
		{name: "a good day", manner: day()},
		{name: "manifests with a charset", manner: day(regtest.ContentType(regtest.ManifestType + "; charset=utf-8"))},
		{name: "manifests as text", manner: day(regtest.ContentType("text/plain"))},
		{name: "manifests without a type", manner: day(regtest.ContentType(""))},
		{name: "a layer cut five times", manner: day(regtest.Cut(5)), told: "was cut off after"},
		{name: "a layer cut twice without Range", manner: day(regtest.NoRange(), regtest.Cut(2))},
		{name: "Retry-After for the manifest", manner: day(regtest.Fail(regtest.Manifests, 1, 429, "TOOMANYREQUESTS", "Retry-After: 1")), told: "waiting 1 s for registry HOST, which asked for it"},
		{name: "Retry-After for blobs", manner: day(regtest.Fail(regtest.Blobs, 1, 503, "UNAVAILABLE", "Retry-After: 1")), told: "waiting 1 s for registry HOST, which asked for it"},
		{name: "Retry-After of an hour", manner: day(regtest.Fail(regtest.Manifests, 99, 429, "TOOMANYREQUESTS", "Retry-After: 3600")), want: []string{"answers 429", "asks to wait 3600 s", "300 s in all"}},
		{name: "Basic and Bearer", manner: day((&regtest.Guard{Offers: []string{`Basic realm="r"`, bearer}}).Manner())},
		{name: "Basic and Bearer in one header, with a login", manner: day((&regtest.Guard{Offers: []string{`Basic realm="r, x", ` + bearer}, Login: regtest.BasicLogin("u", "pw")}).Manner()),
			docker: `{"auths":{"HOST":{"auth":"dTpwdw=="}}}`},
		{name: "a lost layer", manner: func(r *regtest.Registry) []regtest.Manner {
			return []regtest.Manner{func(w http.ResponseWriter, a *regtest.Ask) bool {
				if a.Ref == r.Image.Layer {
					regtest.Refuse(w, 404, "BLOB_UNKNOWN")
				}
				return a.Ref == r.Image.Layer
			}}
		}, want: []string{"has image HOST/lab/img:1, but not its blob sha256:", "push the image again"}},
		{name: "docker's configuration is broken", manner: day(), docker: "{\n  \"auths\": oops }", want: []string{"config.json cannot be read: line 2, column 12", "mend the file"}},
		{name: "docker's helper is missing", manner: day(), docker: `{"credsStore":"gone"}`, want: []string{"docker-credential-gone", "not installed"}},
	}
}

// try builds with a registry on such a day; size makes its layer another one.
func (w *world) try(t *testing.T, day badDay, size int, flags ...string) {
	t.Helper()
	docker := t.TempDir()
	t.Setenv("DOCKER_CONFIG", docker)
	at := regtest.New(t, size)
	at.Behave(day.manner(at)...)
	in := func(s string) string { return strings.ReplaceAll(s, "HOST", at.Host) }
	if day.docker != "" {
		check(t, os.WriteFile(filepath.Join(docker, "config.json"), []byte(in(day.docker)), 0o600))
	}
	w.write("day.yml", in(`init: ["HOST/lab/img:1"]`))
	out := filepath.Join(t.TempDir(), "day.tar")
	got := w.run(append([]string{"build", "--arch", "amd64", "--no-sbom", "--format", "tar", "--progress", "plain", "-o", out}, append(flags, "day.yml")...)...)
	if !strings.Contains(got.stderr, in(day.told)) {
		t.Errorf("it tells\n%s\nwant %q in it", got.stderr, in(day.told))
	}
	if day.want == nil {
		got.ok(t)
		if !strings.Contains(read(t, out), "noise") {
			t.Error("the image's file is not in the output")
		}
		return
	}
	if got.code != ui.ExitFailed {
		t.Errorf("exit code %d, want %d", got.code, ui.ExitFailed)
	}
	for _, part := range day.want {
		if !strings.Contains(got.last(), in(part)) {
			t.Errorf("got %q, want %q in it", got.last(), in(part))
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("an output is left")
	}
}

func TestABuildOutlivesARegistrysBadDay(t *testing.T) {
	w := newWorld(t)
	for i, day := range badDays() {
		t.Run(day.name, func(t *testing.T) { w.try(t, day, 100_000+i, "--cache", t.TempDir()) })
	}
}

// One server meets one registry after the other, and none of their manners stays with it.
func TestAServerOutlivesBadDays(t *testing.T) {
	w := newWorld(t)
	farm := w.startServer(t, filepath.Join(w.dir, "server"))
	for i, day := range badDays() {
		t.Run(day.name, func(t *testing.T) { w.try(t, day, 200_000+i, "--farm", farm, "--cache", t.TempDir()) })
	}
}

// Builds come hours apart, and tokens live for minutes.
func TestAServerRenewsTokensThatHaveExpired(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	w := newWorld(t)
	farm := w.startServer(t, filepath.Join(w.dir, "server"))
	for i, refusal := range []func(http.ResponseWriter){
		nil, // 401 with a challenge
		func(w http.ResponseWriter) { regtest.Refuse(w, 400, "DENIED") },
		func(w http.ResponseWriter) { regtest.Refuse(w, 403, "DENIED") },
	} {
		t.Run([]string{"401", "400", "403"}[i], func(t *testing.T) {
			guard := &regtest.Guard{Offers: []string{`Bearer realm="http://HOST/token",service="reg"`}, Uses: 3, Refusal: refusal}
			at := regtest.New(t, 300_000+i, guard.Manner())
			build := func(n int) result {
				w.write("token.yml", fmt.Sprintf("init: [%q]\n", fmt.Sprintf("%s/lab/img:%d", at.Host, n)))
				return w.run("build", "--farm", farm, "--cache", t.TempDir(), "--arch", "amd64", "--no-sbom", "--format", "tar", "-o", filepath.Join(t.TempDir(), "x.tar"), "token.yml")
			}
			build(1).ok(t) // manifest, config and layer: the token is used up
			build(2).ok(t)
			if got := guard.Made(); got != 2 {
				t.Errorf("%d tokens, want 2", got)
			}
			guard.Close()
			if got := build(3); got.code != ui.ExitFailed || !strings.Contains(got.last(), at.Host+"/lab/img:3") {
				t.Errorf("no token is good any more: exit code %d, %s", got.code, got.last())
			}
			if got := guard.Made(); got != 3 {
				t.Errorf("%d tokens, want 3: one anew, then the sentence", got)
			}
			guard.Open()
			build(4).ok(t)
		})
	}
}
