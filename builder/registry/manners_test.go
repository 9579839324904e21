package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/builder/registry/pull"
	"github.com/kiln-farm/kiln/builder/registry/regtest"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/retry"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const layerSize = 300 << 10

// days is a registry with its manners, a client of it with an empty cache, and a clock that runs when the client sleeps.
type days struct {
	t     *testing.T
	at    *regtest.Registry
	store *disk.Store
	*Registry

	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
	told  []string
}

func newDays(t *testing.T, manners ...regtest.Manner) *days {
	t.Helper()
	d := &days{t: t, at: regtest.New(t, layerSize, manners...)}
	d.client(0)
	return d
}

// client makes a client that has met nobody. Stall 0: a minute.
func (d *days) client(stall time.Duration) {
	d.t.Helper()
	d.t.Setenv("DOCKER_CONFIG", d.t.TempDir()) // no logins of whoever runs the test
	d.now = time.Now()
	var err error
	d.store, err = disk.Open(d.t.TempDir())
	check(d.t, err)
	d.Registry, err = New(Config{Store: d.store, Blobs: d.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Pull: pull.Config{
		Stall: stall, Retry: retry.Policy{First: time.Millisecond, Tries: 4}, Certs: []string{},
		Now: func() time.Time {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.now
		},
		Sleep: func(ctx context.Context, wait time.Duration) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.now, d.slept = d.now.Add(wait), append(d.slept, wait)
			return ctx.Err() == nil
		},
	}})
	check(d.t, err)
}

func (d *days) docker(config string) {
	d.t.Helper()
	config = strings.ReplaceAll(config, "HOST", d.at.Host)
	check(d.t, os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600))
}

func (d *days) hear(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, line)
}

func (d *days) heard() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.told, "\n")
}

// build does with an image what a build does: find out what it is, and bring its layers.
func (d *days) build(tag string) error {
	d.t.Helper()
	reference := d.at.Host + "/lab/img:" + tag
	lock, err := d.Resolve(context.Background(), Request{References: []linuxkit.Reference{{Name: reference}}, Platforms: []string{amd64}, Team: "default", Pull: true, Log: d.hear})
	if err != nil {
		return err
	}
	for _, layer := range lock.GetImages()[0].GetLayers() {
		if err := d.Fetch(context.Background(), &kilnv1.Source{Digest: layer.GetDigest(), Reference: reference, Size: layer.GetSize()}, &kilnv1.BuildSpec{Team: "default"}, d.hear); err != nil {
			return err
		}
	}
	return nil
}

// forget empties the cache.
func (d *days) forget() {
	d.t.Helper()
	for _, s := range []string{d.at.Image.Manifest, d.at.Image.Config, d.at.Image.Layer} {
		digest, err := cache.ParseDigest(s)
		check(d.t, err)
		check(d.t, d.store.Delete(context.Background(), cache.BlobKey(digest)))
	}
}

func manners(m ...regtest.Manner) func(*regtest.Registry) []regtest.Manner {
	return func(*regtest.Registry) []regtest.Manner { return m }
}

// Every row is a registry's manner. What comes of it is an image in the cache, or a sentence with certain parts.
func TestMannersOfRegistries(t *testing.T) {
	const bearer = `Bearer realm="http://HOST/token",service="reg"`
	const basic = `Basic realm="r"`
	login := regtest.BasicLogin("u", "pw")
	guard := func(g *regtest.Guard) func(*regtest.Registry) []regtest.Manner {
		return func(*regtest.Registry) []regtest.Manner { return []regtest.Manner{g.Manner()} }
	}
	passing := func(kind string, n, status int, headers ...string) func(*regtest.Registry) []regtest.Manner {
		return manners(regtest.Fail(kind, n, status, "X", headers...))
	}
	rows := []struct {
		name   string
		manner func(*regtest.Registry) []regtest.Manner
		docker string   // docker's configuration
		want   []string // nil: the image arrives
		slept  time.Duration
		asked  map[string]int // requests with such a part
		told   string
	}{
		{name: "a good day", manner: manners(), asked: map[string]int{"": 4, "HEAD": 0}},

		// What a manifest is called: see also TestAManifestIsWhatItSays.
		{name: "a page of a proxy in the place of a manifest", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, "<html>\nlog in")
			return true
		}), want: []string{"sent no manifest", "text/html", "--mirror"}},
		{name: "manifests compressed for who asks", manner: manners(regtest.Gzipped(regtest.Manifests, false))},
		{name: "manifests compressed unasked", manner: manners(regtest.Gzipped(regtest.Manifests, true))},
		{name: "manifests that only say that they are compressed", manner: manners(header(regtest.Manifests, "Content-Encoding: gzip"))},
		{name: "blobs compressed for who asks", manner: manners(regtest.Gzipped(regtest.Blobs, false))},
		{name: "blobs that only say that they are compressed", manner: manners(header(regtest.Blobs, "Content-Encoding: gzip"))},
		{name: "a wrong Docker-Content-Digest of a tag", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Kind == regtest.Manifests {
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.Write(a.Body)
			}
			return a.Kind == regtest.Manifests
		})},
		{name: "a manifest of megabytes", manner: manners(regtest.Instead(regtest.Manifests, 9, func([]byte) []byte { return make([]byte, maxManifest+1) })),
			want: []string{"more than 4194304 bytes"}},

		// Trouble that passes.
		{name: "500 once for a blob", manner: passing(regtest.Blobs, 1, 500)},
		{name: "502 three times for a manifest", manner: passing(regtest.Manifests, 3, 502)},
		{name: "503 for ever", manner: passing(regtest.Manifests, 999, 503), want: []string{"answers 503", "--mirror"}},
		{name: "408 once", manner: passing(regtest.Blobs, 1, 408)},
		{name: "429 once without a word", manner: passing(regtest.Manifests, 1, 429)},
		{name: "404 once for a blob", manner: passing(regtest.Blobs, 1, 404)},
		{name: "404 for ever for a layer", manner: func(r *regtest.Registry) []regtest.Manner {
			return []regtest.Manner{func(w http.ResponseWriter, a *regtest.Ask) bool {
				if a.Ref != r.Image.Layer {
					return false
				}
				regtest.Refuse(w, 404, "BLOB_UNKNOWN")
				return true
			}}
		}, want: []string{"has image", "lab/img:1, but not its blob sha256:", "push the image again"}},
		{name: "404 for the manifest", manner: passing(regtest.Manifests, 1, 404), want: []string{"lab/img:1 is not in registry", "check its name"}, asked: map[string]int{"manifests": 1}},
		{name: "a ping that is not known", manner: passing(regtest.Ping, 999, 404)},
		{name: "a ping that fails once", manner: passing(regtest.Ping, 1, 503)},
		{name: "HEAD is not allowed", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Method == http.MethodHead {
				regtest.Refuse(w, 405, "UNSUPPORTED")
			}
			return a.Method == http.MethodHead
		})},

		// Retry-After.
		{name: "429 that asks for a minute", manner: passing(regtest.Manifests, 1, 429, "Retry-After: 60"), slept: time.Minute,
			told: "waiting 60 s for registry HOST, which asked for it (429 Too Many Requests); Kiln waits 300 s in all"},
		{name: "429 that asks for a minute, for a blob", manner: passing(regtest.Blobs, 1, 429, "Retry-After: 60"), slept: 2 * time.Minute, told: "waiting 60 s"},
		{name: "429 that asks for a minute, at first", manner: passing(regtest.Ping, 1, 429, "Retry-After: 60"), slept: time.Minute, told: "waiting 60 s"},
		{name: "503 that asks for a minute again and again", manner: passing(regtest.Manifests, 5, 503, "Retry-After: 60"), slept: 5 * time.Minute, told: "503"},
		{name: "503 that asks for a minute too often", manner: passing(regtest.Manifests, 6, 503, "Retry-After: 60"), slept: 5 * time.Minute,
			want: []string{"answers 503", "asks to wait 60 s, longer than Kiln does (300 s in all)", "--mirror"}},
		{name: "429 that asks for an hour", manner: passing(regtest.Manifests, 99, 429, "Retry-After: 3600"), want: []string{"answers 429", "asks to wait 3600 s"}, asked: map[string]int{"manifests": 1}},
		{name: "429 that asks for an hour, for a blob", manner: passing(regtest.Blobs, 99, 429, "Retry-After: 3600"), want: []string{"answers 429", "asks to wait 3600 s"}},
		{name: "503 that asks for a date", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Kind != regtest.Manifests || a.N > 1 {
				return false
			}
			theirs := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // their clock is not ours
			w.Header().Set("Date", theirs.Format(http.TimeFormat))
			w.Header().Set("Retry-After", theirs.Add(90*time.Second).Format(http.TimeFormat))
			regtest.Refuse(w, 503, "UNAVAILABLE")
			return true
		}), slept: 90 * time.Second, told: "waiting 90 s"},
		{name: "429 that asks for what is no time", manner: passing(regtest.Manifests, 1, 429, "Retry-After: soon")},
		{name: "429 that asks for no time", manner: passing(regtest.Manifests, 1, 429, "Retry-After: 0")},
		{name: "a token service that asks for a minute", manner: func(r *regtest.Registry) []regtest.Manner {
			g := regtest.Guard{Offers: []string{bearer}}
			return []regtest.Manner{regtest.Fail(regtest.Token, 2, 429, "TOOMANYREQUESTS", "Retry-After: 60"), g.Manner()}
		}, slept: 2 * time.Minute, told: "waiting 60 s"},

		// Blobs that break off.
		{name: "a layer cut once", manner: manners(regtest.Cut(1)), asked: map[string]int{"Range=": 1}, told: "was cut off after"},
		{name: "a layer cut five times", manner: manners(regtest.Cut(5)), asked: map[string]int{"Range=": 5}},
		{name: "a layer cut twenty times", manner: manners(regtest.Cut(20)), asked: map[string]int{"Range=": 20}},
		{name: "a layer cut five times by a server without Range", manner: manners(regtest.NoRange(), cutLater(5))},
		{name: "a layer cut at once, for ever", manner: manners(cutAt(0)), want: []string{"cannot be reached", "EOF"}, asked: map[string]int{"blobs": 5}},
		{name: "a layer cut at the same place, for ever, by a server without Range", manner: manners(regtest.NoRange(), cutAt(100_000)), want: []string{"cannot be reached", "EOF"}},
		{name: "a layer without a length", manner: manners(regtest.Chunked())},
		{name: "another part than the one that was asked for", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(a.Body)-1, len(a.Body)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(a.Body)
			return true
		}, regtest.Cut(1))},
		{name: "416 for any part", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}, regtest.Cut(1))},
		{name: "a part that does not fit what came before", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Header.Get("Range") == "" {
				return false
			}
			for i := range a.Body {
				a.Body = append([]byte{}, a.Body...)
				a.Body[i] ^= 0xff
				break
			}
			a.Body[len(a.Body)-1] ^= 0xff
			regtest.Part(w, a, -1)
			return true
		}, regtest.Cut(1))},
		{name: "a layer that is wrong once", manner: manners(regtest.Instead(regtest.Blobs, 1, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }))},
		{name: "a layer that is wrong for ever", manner: manners(regtest.Instead(regtest.Blobs, 99, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })),
			want: []string{"not what their digest says", "--mirror"}, asked: map[string]int{"blobs": 3}},
		{name: "a layer that is too long", manner: manners(regtest.Instead(regtest.Blobs, 99, func(b []byte) []byte { return append(b, "more"...) })), want: []string{"not what their digest says"}},
		{name: "a layer that is too short", manner: manners(regtest.Instead(regtest.Blobs, 99, func(b []byte) []byte { return b[:len(b)-4] })), want: []string{"cannot be reached", "EOF"}},

		// Storage elsewhere.
		{name: "blobs in storage", manner: func(r *regtest.Registry) []regtest.Manner {
			return []regtest.Manner{regtest.Redirect(307, elsewhere(r))}
		}},
		{name: "blobs in storage, relative", manner: manners(regtest.Redirect(302, ""))},
		{name: "blobs in storage for who has a token", manner: func(r *regtest.Registry) []regtest.Manner {
			g := regtest.Guard{Offers: []string{bearer}}
			return []regtest.Manner{g.Manner(), regtest.Redirect(307, elsewhere(r))}
		}},
		{name: "a circle of redirects", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			http.Redirect(w, a.Request, a.URL.Path, http.StatusFound)
			return true
		}), want: []string{"sends its clients on more than 10 times"}},

		// Ways in.
		{name: "a token", manner: guard(&regtest.Guard{Offers: []string{bearer}}), asked: map[string]int{"GET token": 1}},
		{name: "Basic before Bearer", manner: guard(&regtest.Guard{Offers: []string{basic, bearer}})},
		{name: "Bearer before Basic", manner: guard(&regtest.Guard{Offers: []string{bearer, basic}})},
		{name: "Basic and Bearer in one header", manner: guard(&regtest.Guard{Offers: []string{`Basic realm="r, x", ` + bearer}})},
		{name: "Bearer and Basic in one header, in other cases", manner: guard(&regtest.Guard{Offers: []string{`bearer realm="http://HOST/token" , service=reg, BASIC realm="r"`}})},
		{name: "Bearer among ways that nobody knows", manner: guard(&regtest.Guard{Offers: []string{"Negotiate", `NTLM TlRMTVNTUAAB=, Digest realm="a\"b", qop="auth,auth-int"`, bearer}})},
		{name: "Basic and Bearer, with a login", manner: guard(&regtest.Guard{Offers: []string{basic, bearer}, Login: login}), docker: `{"auths":{"HOST":{"username":"u","password":"pw"}}}`,
			asked: map[string]int{"GET token  Authorization=" + login: 1, "manifests 1 Authorization=Bearer": 1}},
		{name: "Basic and Bearer, with the wrong login", manner: guard(&regtest.Guard{Offers: []string{basic, bearer}, Login: login}), docker: `{"auths":{"HOST":{"username":"u","password":"no"}}}`,
			want: []string{"does not let you read", "docker login HOST"}},
		{name: "Basic with a login", manner: guard(&regtest.Guard{Offers: []string{basic}, Login: login, Basic: true}), docker: `{"auths":{"HOST":{"auth":"dTpwdw=="}}}`},
		{name: "Basic without a login", manner: guard(&regtest.Guard{Offers: []string{basic}, Login: login, Basic: true}), want: []string{"does not let you read", "docker login HOST"}, asked: map[string]int{"manifests": 1}},
		{name: "an identity token", manner: guard(&regtest.Guard{Offers: []string{bearer}, Identity: "id", Login: "none", Answer: `{"access_token":"%s","refresh_token":"id"}`}), docker: `{"auths":{"HOST":{"auth":"PHRva2VuPjo=","identitytoken":"id"}}}`},
		{name: "an identity token where nobody knows POST", manner: guard(&regtest.Guard{Offers: []string{bearer}}), docker: `{"auths":{"HOST":{"auth":"PHRva2VuPjo=","identitytoken":"id"}}}`,
			asked: map[string]int{"POST token": 1, "GET token": 1, "Authorization=Basic": 0}},
		{name: "a token that is in the logins", manner: manners(func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Header.Get("Authorization") == "Bearer mine" || a.Kind == regtest.Ping {
				return false
			}
			regtest.Refuse(w, 401, "UNAUTHORIZED")
			return true
		}), docker: `{"auths":{"HOST":{"registrytoken":"mine"}}}`},
		{name: "access_token", manner: guard(&regtest.Guard{Offers: []string{bearer}, Answer: `{"access_token":"%s","expires_in":300}`})},
		{name: "both names of a token, and a life that is text", manner: guard(&regtest.Guard{Offers: []string{bearer}, Answer: `{"token":"%s","access_token":"%s","expires_in":"300","issued_at":"2026-01-01T00:00:00Z"}`})},
		{name: "no token", manner: guard(&regtest.Guard{Offers: []string{bearer}, Answer: `{}`}), want: []string{"token service HOST", "there is no token in its answer"}},
		{name: "a token that is no JSON", manner: guard(&regtest.Guard{Offers: []string{bearer}, Answer: `secret`}), want: []string{"its answer is not JSON"}},
		{name: "a token service that is not there", manner: guard(&regtest.Guard{Offers: []string{`Bearer realm="http://HOST/gone"`}}), want: []string{"token service HOST", "404"}},
		{name: "a token service that is no URL", manner: guard(&regtest.Guard{Offers: []string{`Bearer realm="token"`}}), want: []string{"names \"token\" as its token service, which is no URL"}},
		{name: "a token service that cannot be reached", manner: guard(&regtest.Guard{Offers: []string{`Bearer realm="http://127.0.0.1:1/token"`}}), want: []string{"token service 127.0.0.1:1 of registry HOST", "cannot be reached", "refused"}},
		{name: "400 once, and a token that reads as before", manner: manners(regtest.Fail(regtest.Blobs, 1, 400, "DENIED"), func(w http.ResponseWriter, a *regtest.Ask) bool {
			if a.Kind == regtest.Token || a.Header.Get("Authorization") == "Bearer anybody" {
				return false
			}
			w.Header().Set("WWW-Authenticate", strings.ReplaceAll(bearer, "HOST", a.Host))
			regtest.Refuse(w, 401, "UNAUTHORIZED")
			return true
		}), asked: map[string]int{"token": 3}},
		{name: "a token only for blobs", manner: guard(&regtest.Guard{Offers: []string{bearer}, Kind: regtest.Blobs})},
		{name: "a login that changes nothing", manner: guard(&regtest.Guard{Offers: []string{basic}, Kind: regtest.Blobs}), want: []string{"does not let you read"}, asked: map[string]int{"blobs": 1}},
		{name: "403 for ever", manner: passing(regtest.Manifests, 99, 403), want: []string{"does not let you read"}, asked: map[string]int{"manifests": 1}},
		{name: "400 that is none of a token's", manner: passing(regtest.Manifests, 99, 400), want: []string{"answers 400 Bad Request (X: the message of X)"}, asked: map[string]int{"manifests": 1}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := newDays(t)
			d.at.Behave(row.manner(d.at)...)
			if row.docker != "" {
				d.docker(row.docker)
			}
			err := d.build("1")
			if row.want == nil {
				check(t, err)
				w := &world{t: t, store: d.store}
				w.wantBlobs(d.at.Image.Manifest, d.at.Image.Config, d.at.Image.Layer)
			} else {
				var parts []string
				for _, part := range row.want {
					parts = append(parts, strings.ReplaceAll(part, "HOST", d.at.Host))
				}
				wantSentence(t, err, append(parts, d.at.Host)...)
				if left := tempFiles(t, d.store); left > 0 {
					t.Errorf("%d half-written files are left", left)
				}
			}
			var slept time.Duration
			for _, s := range d.slept {
				slept += s
			}
			if slept != row.slept {
				t.Errorf("it waited %s, want %s", slept, row.slept)
			}
			for part, want := range row.asked {
				if got := d.at.Asked(part); got != want {
					t.Errorf("%d requests with %q, want %d:\n%s", got, part, want, strings.Join(d.at.Asks(), "\n"))
				}
			}
			if want := strings.ReplaceAll(row.told, "HOST", d.at.Host); !strings.Contains(d.heard(), want) {
				t.Errorf("told %q, want %q", d.heard(), want)
			}
		})
	}
}

// header adds a header to the answers of a kind.
func header(kind, h string) regtest.Manner {
	name, value, _ := strings.Cut(h, ": ")
	return func(w http.ResponseWriter, a *regtest.Ask) bool {
		if a.Kind == kind {
			w.Header().Set(name, value)
		}
		return false
	}
}

// cutAt breaks all layers off at one place of the answer.
func cutAt(bytes int) regtest.Manner {
	return func(w http.ResponseWriter, a *regtest.Ask) bool {
		if a.Kind != regtest.Blobs || len(a.Body) < layerSize/2 {
			return false
		}
		regtest.Part(w, a, bytes)
		panic(http.ErrAbortHandler)
	}
}

// cutLater breaks the first n answers off, each later than the one before: it is sent from the beginning each time.
func cutLater(n int) regtest.Manner {
	return func(w http.ResponseWriter, a *regtest.Ask) bool {
		if a.Kind != regtest.Blobs || len(a.Body) < layerSize/2 || a.N > n {
			return false
		}
		regtest.Part(w, a, len(a.Body)*a.N/(n+1))
		panic(http.ErrAbortHandler)
	}
}

// elsewhere is the registry's server under another name.
func elsewhere(r *regtest.Registry) string {
	return strings.Replace(r.URL, "127.0.0.1", "localhost", 1)
}

func tempFiles(t *testing.T, store *disk.Store) (n int) {
	t.Helper()
	check(t, filepath.WalkDir(store.Path(), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.Contains(strings.TrimPrefix(path, store.Path()), "tmp") {
			n++
		}
		return err
	}))
	return n
}

// A registry that stops in the middle and keeps the connection holds nobody for ever.
func TestAnAnswerThatStopsIsBegunAgain(t *testing.T) {
	const stall = 300 * time.Millisecond
	for _, row := range []struct {
		name   string
		manner func(*regtest.Registry) []regtest.Manner
		want   []string
		asked  map[string]int
		told   string
	}{
		{"a layer, once", func(r *regtest.Registry) []regtest.Manner { return []regtest.Manner{r.Stall(1, 100_000)} }, nil,
			map[string]int{"Range=bytes=100000-": 1}, "has stopped for 1 s after 100000 of "},
		{"a layer, once, of a server without Range", func(r *regtest.Registry) []regtest.Manner {
			return []regtest.Manner{regtest.NoRange(), r.Stall(1, 100_000)}
		}, nil, nil, "has stopped"},
		{"a layer, six times, each time further on", func(r *regtest.Registry) []regtest.Manner { return []regtest.Manner{r.Stall(6, 40_000)} }, nil, map[string]int{"Range=": 6}, "has stopped"},
		{"a layer, at the same place for ever", func(r *regtest.Registry) []regtest.Manner {
			return []regtest.Manner{regtest.NoRange(), r.Stall(99, 100_000)}
		},
			[]string{"stops while it sends blob sha256:", "again and again", "--mirror"}, map[string]int{"blobs sha256": 5}, "has stopped"},
		{"a layer, before its first byte, for ever", func(r *regtest.Registry) []regtest.Manner { return []regtest.Manner{r.Stall(99, 0)} }, []string{"stops while it sends blob"}, nil, ""},
		{"a layer, byte by byte, for ever", func(r *regtest.Registry) []regtest.Manner { return []regtest.Manner{r.Drip(99, 20*time.Millisecond)} }, []string{"stops while it sends blob"}, nil, ""},
		{"a manifest, once", func(r *regtest.Registry) []regtest.Manner { return []regtest.Manner{r.Hang(regtest.Manifests, 1)} }, nil, nil, ""},
		{"a manifest, for ever", func(r *regtest.Registry) []regtest.Manner { return []regtest.Manner{r.Hang(regtest.Manifests, 99)} }, []string{"stops while it sends", "lab/img:1"}, nil, ""},
		{"a token, once", func(r *regtest.Registry) []regtest.Manner {
			g := regtest.Guard{Offers: []string{`Bearer realm="http://HOST/token"`}}
			return []regtest.Manner{r.Hang(regtest.Token, 1), g.Manner()}
		}, nil, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDays(t)
			d.client(stall)
			d.at.Behave(row.manner(d.at)...)
			begun := time.Now()
			err := d.build("1")
			if took := time.Since(begun); took > 20*stall+10*time.Second {
				t.Errorf("it took %s", took)
			}
			if row.want == nil {
				check(t, err)
			} else {
				wantSentence(t, err, append(row.want, d.at.Host)...)
				var failure *step.Failure
				if !errors.As(err, &failure) {
					t.Errorf("the leader would have it all repeated: %v", err)
				}
			}
			for part, want := range row.asked {
				if got := d.at.Asked(part); got != want {
					t.Errorf("%d requests with %q, want %d:\n%s", got, part, want, strings.Join(d.at.Asks(), "\n"))
				}
			}
			if !strings.Contains(d.heard(), row.told) {
				t.Errorf("told %q, want %q", d.heard(), row.told)
			}
		})
	}
}

// A builder lives on between builds: a token that has expired in the meantime is renewed, whatever the registry says to it, and once.
func TestATokenThatHasExpiredIsRenewed(t *testing.T) {
	refusals := map[string]func(http.ResponseWriter){
		"400 DENIED":              func(w http.ResponseWriter) { regtest.Refuse(w, 400, "DENIED") },
		"400 without a word":      func(w http.ResponseWriter) { w.WriteHeader(400) },
		"401 without a challenge": func(w http.ResponseWriter) { regtest.Refuse(w, 401, "UNAUTHORIZED") },
		"401 with one":            nil,
		"403":                     func(w http.ResponseWriter) { regtest.Refuse(w, 403, "DENIED") },
		"401 with another challenge": func(w http.ResponseWriter) {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(401)
		},
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			g := &regtest.Guard{Offers: []string{`Bearer realm="http://HOST/token",service="reg"`}, Uses: 3, Refusal: refusal}
			d := newDays(t, g.Manner())
			check(t, d.build("1")) // manifest, config and layer
			for n := 2; n <= 4; n++ {
				d.forget()
				check(t, d.build(fmt.Sprint(n)))
				if got := g.Made(); got != n {
					t.Errorf("after build %d: %d tokens, want %d", n, got, n)
				}
			}
		})
	}
	for name, refusal := range refusals {
		t.Run(name+", for ever", func(t *testing.T) {
			g := &regtest.Guard{Offers: []string{`Bearer realm="http://HOST/token",service="reg"`}, Uses: 3, Refusal: refusal}
			d := newDays(t, g.Manner())
			check(t, d.build("1"))
			g.Close()
			d.forget()
			err := d.build("2")
			wantSentence(t, err, d.at.Host, "lab/img:2")
			var failure *step.Failure
			if !errors.As(err, &failure) {
				t.Errorf("it is tried again: %v", err)
			}
			if got := g.Made(); got != 2 {
				t.Errorf("%d tokens, want 2: one anew, then the sentence", got)
			}
			g.Open()
			check(t, d.build("3")) // and the day is saved without a restart
		})
	}
	t.Run("before it expires, where that is told", func(t *testing.T) {
		g := &regtest.Guard{Offers: []string{`Bearer realm="http://HOST/token"`}, Answer: `{"token":"%s","expires_in":60}`}
		d := newDays(t, g.Manner())
		check(t, d.build("1"))
		check(t, d.build("2"))
		if got := g.Made(); got != 1 {
			t.Errorf("%d tokens at once, want 1", got)
		}
		d.mu.Lock()
		d.now = d.now.Add(time.Minute)
		d.mu.Unlock()
		check(t, d.build("3"))
		if got := g.Made(); got != 2 {
			t.Errorf("%d tokens after a minute, want 2", got)
		}
	})
	t.Run("a password that has changed is read again", func(t *testing.T) {
		g := &regtest.Guard{Offers: []string{`Basic realm="r"`}, Login: regtest.BasicLogin("u", "old"), Basic: true}
		d := newDays(t, g.Manner())
		d.docker(`{"auths":{"HOST":{"username":"u","password":"old"}}}`)
		check(t, d.build("1"))
		next := &regtest.Guard{Offers: g.Offers, Login: regtest.BasicLogin("u", "new"), Basic: true}
		d.at.Behave(next.Manner())
		d.docker(`{"auths":{"HOST":{"username":"u","password":"new"}}}`)
		check(t, d.build("2"))
	})
}

// Many steps want blobs of one repository at once.
func TestOneTokenServesManyRequests(t *testing.T) {
	g := &regtest.Guard{Offers: []string{`Bearer realm="http://HOST/token"`}}
	d := newDays(t, g.Manner())
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			if err := d.build(fmt.Sprint(n)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := g.Made(); got != 1 {
		t.Errorf("%d tokens, want 1", got)
	}
}

// An index names a manifest, and a manifest a config, that the registry has lost.
func TestWhatARegistryHasLostIsNamed(t *testing.T) {
	lost := "sha256:" + strings.Repeat("1", 64)
	for what, document := range map[string]map[string]any{
		"manifest": {"schemaVersion": 2, "mediaType": regtest.IndexType, "manifests": []any{map[string]any{"mediaType": regtest.ManifestType, "digest": lost, "size": 100,
			"platform": map[string]any{"os": "linux", "architecture": "amd64"}}}},
		"blob": {"schemaVersion": 2, "mediaType": regtest.ManifestType, "layers": []any{}, "config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": lost, "size": 100}},
	} {
		d := newDays(t)
		raw, err := json.Marshal(document)
		check(t, err)
		d.at.Tag(raw)
		err = d.build("1")
		wantSentence(t, err, "registry "+d.at.Host+" has image "+d.at.Host+"/lab/img:1, but not its "+what+" "+lost, "push the image again")
		var failure *step.Failure
		if !errors.As(err, &failure) {
			t.Errorf("it is tried again: %v", err)
		}
	}
}

// Whoever joins a fetch hears what it waits for, too.
func TestAllWhoWaitAreTold(t *testing.T) {
	d := newDays(t)
	check(t, d.build("1"))
	d.forget()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	d.at.Behave(func(w http.ResponseWriter, a *regtest.Ask) bool {
		if a.Kind != regtest.Blobs || a.N > 1 {
			return false
		}
		arrived <- struct{}{}
		<-release
		w.Header().Set("Retry-After", "7")
		regtest.Refuse(w, 429, "TOOMANYREQUESTS")
		return true
	})
	source := &kilnv1.Source{Digest: d.at.Image.Layer, Reference: d.at.Host + "/lab/img:1", Size: d.at.Image.Size}
	var told [2]string
	var all sync.WaitGroup
	fetch := func(i int) {
		all.Go(func() {
			if err := d.Fetch(context.Background(), source, nil, func(line string) { told[i] = line }); err != nil {
				t.Error(err)
			}
		})
	}
	fetch(0)
	<-arrived
	fetch(1)
	for joined := false; !joined; time.Sleep(time.Millisecond) {
		d.Registry.mu.Lock()
		for _, heard := range d.hearing {
			joined = len(heard) == 2
		}
		d.Registry.mu.Unlock()
	}
	close(release)
	all.Wait()
	for i, line := range told {
		if !strings.Contains(line, "waiting 7 s") {
			t.Errorf("caller %d was told %q", i, line)
		}
	}
	if len(d.hearing) != 0 {
		t.Errorf("%d fetches are still heard", len(d.hearing))
	}
}
