package pull

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kiln-farm/kiln/internal/retry"
)

// Bounds of a client where its Config sets none.
const (
	defaultStall    = time.Minute
	defaultPatience = 5 * time.Minute
)

// defaultRetry is for what a moment may mend.
var defaultRetry = retry.Policy{First: 200 * time.Millisecond, Most: 5 * time.Second, Jitter: 0.25, Tries: 4}

// Config of a Client.
type Config struct {
	UserAgent string
	// Certs are directories with one for each host, HOST or HOST:PORT, that holds authorities (*.crt) and client certificates
	// (*.cert with *.key). Nil: those of docker and containerd.
	Certs []string
	// Stall is how long an answer may bring (nearly) nothing. 0: a minute.
	Stall time.Duration
	// Patience is how long one manifest or blob may wait in all because registries ask for it. 0: five minutes.
	Patience time.Duration
	// Retry is how often and after which waits a request is repeated that brings nothing. Zero: four tries in a second or two.
	Retry retry.Policy
	// Now and Sleep are for tests; nil: the clock, and retry.Sleep.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) bool
}

// Client talks to registries. Its methods may be called by many goroutines.
type Client struct {
	cfg  Config
	base http.RoundTripper // of requests that carry no credentials of their own
}

// New makes a Client.
func New(cfg Config) *Client {
	cfg.Stall = cmp.Or(cfg.Stall, defaultStall)
	cfg.Patience = cmp.Or(cfg.Patience, defaultPatience)
	if cfg.Retry == (retry.Policy{}) {
		cfg.Retry = defaultRetry
	}
	if cfg.Certs == nil {
		cfg.Certs = certsDirs()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = func(ctx context.Context, d time.Duration) bool {
			return retry.Sleep(ctx, d+rand.N(time.Second)) // others were asked to wait as long
		}
	}
	return &Client{cfg: cfg, base: &patience{&stalls{newHosts(cfg.Certs), cfg.Stall}, &cfg}}
}

// Patience is how long a client waits because registries ask for it.
func (c *Client) Patience() time.Duration { return c.cfg.Patience }

// Repository is a repository as one team reads it. scheme is "http" or "https"; empty: https, and http where a host is on this machine
// or in a private network and does not speak https.
func (c *Client) Repository(repo name.Repository, scheme string, keys authn.Keychain) *Repository {
	schemes := []string{scheme}
	if scheme == "" {
		schemes = []string{"https"}
		if repo.Scheme() == "http" {
			schemes = append(schemes, "http")
		}
	}
	r := &Repository{client: c, repo: repo, schemes: schemes, keys: keys, changing: make(chan struct{}, 1)}
	r.http = &http.Client{Transport: r, CheckRedirect: redirect}
	return r
}

// visit is what belongs to one manifest or blob, however many requests it takes.
type visit struct {
	tell func(string)

	mu     sync.Mutex
	waited time.Duration
}

type visitKey struct{}

// Visit is a context for one manifest or blob: all its requests together wait no longer than the client's patience, and
// tell hears, in a line for people, what they wait for.
func Visit(ctx context.Context, tell func(string)) context.Context {
	return context.WithValue(ctx, visitKey{}, &visit{tell: tell})
}

func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{tell: func(string) {}}
}

// take says whether d may be waited, too, and counts it.
func (v *visit) take(d, most time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d > most-v.waited {
		return false
	}
	v.waited += d
	return true
}
