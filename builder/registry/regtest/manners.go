package regtest

import (
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// large is the size from which a blob is a layer to the manners that are about layers, in bytes.
const large = 8 << 10

// ContentType calls manifests so; empty: nothing at all.
func ContentType(called string) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != Manifests || a.Body == nil {
			return false
		}
		if w.Header().Set("Content-Type", called); called == "" {
			w.Header()["Content-Type"] = nil // net/http would guess
		}
		w.Write(a.Body)
		return true
	}
}

// Fail answers the first n requests of a kind with a status, a code and headers ("Name: value").
func Fail(kind string, n, status int, code string, headers ...string) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != kind || a.N > n {
			return false
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, value)
		}
		Refuse(w, status, code)
		return true
	}
}

// Cut breaks off the first n answers with a layer, each after another share of it.
func Cut(n int) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != Blobs || len(a.Body) < large || a.N > n {
			return false
		}
		if !Part(w, a, len(a.Body)/(n+2)) {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

// NoRange takes the Range away, before manners that come after it: a server that does not understand it.
func NoRange() Manner {
	return func(_ http.ResponseWriter, a *Ask) bool {
		a.Header.Del("Range")
		return false
	}
}

// Stall sends the first bytes of the first n layers and then nothing more, and keeps the connection.
func (r *Registry) Stall(n, bytes int) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != Blobs || len(a.Body) < large || a.N > n {
			return false
		}
		if !Part(w, a, bytes) {
			r.hang(a)
		}
		return true
	}
}

// Drip sends the first n layers a byte at a time.
func (r *Registry) Drip(n int, pause time.Duration) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != Blobs || len(a.Body) < large || a.N > n {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
		for i := range a.Body {
			w.Write(a.Body[i : i+1])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(pause):
			case <-a.Context().Done():
				return true
			case <-r.ended:
				return true
			}
		}
		return true
	}
}

// Hang answers the first n requests of a kind with a header and nothing more.
func (r *Registry) Hang(kind string, n int) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != kind || a.N > n {
			return false
		}
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		r.hang(a)
		return true
	}
}

func (r *Registry) hang(a *Ask) {
	select {
	case <-a.Context().Done():
	case <-r.ended:
	}
}

// Chunked sends blobs without saying how long they are.
func Chunked() Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != Blobs || a.Body == nil {
			return false
		}
		for rest := a.Body; len(rest) > 0; {
			n := min(len(rest), 16<<10)
			w.Write(rest[:n])
			_ = http.NewResponseController(w).Flush()
			rest = rest[n:]
		}
		return true
	}
}

// Gzipped compresses the answers of a kind for who asks for it, or for all.
func Gzipped(kind string, unasked bool) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != kind || a.Body == nil || !unasked && !strings.Contains(a.Header.Get("Accept-Encoding"), "gzip") {
			return false
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(a.Body)
		z.Close()
		return true
	}
}

// Instead sends other bytes in the place of the first n bodies of a kind that are large, for layers, or any, for manifests.
func Instead(kind string, n int, change func([]byte) []byte) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind != kind || a.N > n || a.Body == nil || kind == Blobs && len(a.Body) < large {
			return false
		}
		w.Write(change(append([]byte{}, a.Body...)))
		return true
	}
}

// Redirect sends who wants a blob to storage at a URL, which takes nobody who shows a login (as S3 does).
func Redirect(status int, to string) Manner {
	return func(w http.ResponseWriter, a *Ask) bool {
		switch {
		case a.Kind == Blobs && a.Body != nil:
			w.Header().Set("Location", to+"/storage/"+a.Ref+"?X-Sig=a%2Fb&X-Exp=9")
			w.WriteHeader(status)
		case a.Kind == Storage && a.Header.Get("Authorization") != "":
			Refuse(w, http.StatusBadRequest, "InvalidArgument")
		case a.Kind == Storage && a.URL.RawQuery != "X-Sig=a%2Fb&X-Exp=9":
			Refuse(w, http.StatusForbidden, "SignatureDoesNotMatch")
		default:
			return false
		}
		return true
	}
}

// Guard lets nobody in without the right Authorization, and offers ways in with WWW-Authenticate headers.
type Guard struct {
	Offers []string
	Login  string // "Basic …" that is right, at the token service as well; empty: anybody gets a token
	Basic  bool   // whether Login opens the registry itself
	// Refusal answers a token that has expired; nil: 401 with the offers.
	Refusal func(w http.ResponseWriter)
	// Uses is how often a token is good; 0: always.
	Uses int
	// Answer is what the token service says, with %s for the token; empty: {"token":"%s"}.
	Answer string
	// Identity is the identity token that the service takes with POST; empty: it does not know POST.
	Identity string
	// Path to guard alone; empty: everything.
	Kind string

	mu     sync.Mutex
	made   int
	closed bool
	uses   map[string]int
}

// BasicLogin is the Authorization of a user.
func BasicLogin(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Manner is the guard as a manner.
func (g *Guard) Manner() Manner {
	g.uses = map[string]int{}
	return func(w http.ResponseWriter, a *Ask) bool {
		if a.Kind == Token {
			g.token(w, a)
			return true
		}
		if a.Kind == Storage || a.Kind == Other || g.Kind != "" && a.Kind != g.Kind {
			return false
		}
		shown := a.Header.Get("Authorization")
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.Basic && shown == g.Login {
			return false
		}
		if token, ok := strings.CutPrefix(shown, "Bearer "); ok {
			if n, known := g.uses[token]; known {
				if g.uses[token] = n + 1; !g.closed && (g.Uses == 0 || n < g.Uses) {
					return false
				}
				if g.Refusal != nil {
					g.Refusal(w)
					return true
				}
			}
		}
		for _, offer := range g.Offers {
			w.Header().Add("WWW-Authenticate", strings.ReplaceAll(offer, "HOST", a.Host))
		}
		Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
}

func (g *Guard) token(w http.ResponseWriter, a *Ask) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case a.Method == http.MethodPost && g.Identity == "":
		Refuse(w, http.StatusNotFound, "UNSUPPORTED")
		return
	case a.Method == http.MethodPost:
		if a.FormValue("refresh_token") != g.Identity || a.FormValue("grant_type") != "refresh_token" || a.FormValue("client_id") == "" {
			Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
			return
		}
	case g.Login != "" && a.Header.Get("Authorization") != g.Login:
		Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	g.made++
	token := fmt.Sprintf("T%d", g.made)
	g.uses[token] = 0
	answer := g.Answer
	if answer == "" {
		answer = `{"token":"%s"}`
	}
	fmt.Fprint(w, strings.ReplaceAll(answer, "%s", token))
}

// Close refuses all tokens, new ones as well, until Open.
func (g *Guard) Close() { g.set(true) }

// Open ends Close.
func (g *Guard) Open() { g.set(false) }

func (g *Guard) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
}

// Made is how many tokens there are.
func (g *Guard) Made() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.made
}
