package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/singleflight"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/version"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Config of a Registry.
type Config struct {
	Store cache.Store
	Blobs cache.Blobs
	Teams string // directory with a directory of logins and mirrors for each team; empty: docker's logins for all
	Log   *slog.Logger
}

// Registry resolves references and fetches blobs. Its methods may be called by many goroutines.
type Registry struct {
	cfg     Config
	teams   teams
	fetches singleflight.Group

	mu         sync.Mutex
	transports map[string]http.RoundTripper // by host
	pullers    map[string]*remote.Puller    // by team and repository
}

// New makes a Registry.
func New(cfg Config) (*Registry, error) {
	if cfg.Store == nil || cfg.Blobs == nil {
		return nil, errors.New("a registry client needs a store and blobs")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Registry{cfg: cfg, teams: teams{cfg.Teams}, transports: map[string]http.RoundTripper{}, pullers: map[string]*remote.Puller{}}, nil
}

// source is where a reference is to be looked for: the registry itself or its mirror.
type source struct {
	ref    name.Reference
	host   string
	team   string
	puller *remote.Puller
}

// locate parses a reference (expanded) and applies the mirrors, registry to URL, of a build and of its team.
func (r *Registry) locate(reference, team string, mirrors map[string]string) (*source, error) {
	mirrors, err := r.teams.mirrors(team, mirrors)
	if err != nil {
		return nil, err
	}
	parsed, err := name.ParseReference(reference, name.WithDefaultRegistry("docker.io"))
	if err != nil {
		return nil, step.Failf("image %s: %w", reference, err)
	}
	registry := parsed.Context().RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	var options []name.Option
	if mirror, ok := mirrors[registry]; ok {
		scheme, host, found := strings.Cut(mirror, "://")
		if !found {
			scheme, host = "https", mirror
		}
		if scheme == "http" {
			options = append(options, name.Insecure)
		}
		host = strings.TrimSuffix(host, "/")
		to := host + "/" + parsed.Context().RepositoryStr()
		if _, isDigest := parsed.(name.Digest); isDigest {
			to += "@" + parsed.Identifier()
		} else {
			to += ":" + parsed.Identifier()
		}
		if parsed, err = name.ParseReference(to, options...); err != nil {
			return nil, step.Failf("mirror %s of %s: %w; write it as HOST or http://HOST:PORT", mirror, registry, err)
		}
	}
	puller, err := r.puller(team, parsed.Context())
	return &source{ref: parsed, host: parsed.Context().RegistryStr(), team: team, puller: puller}, err
}

// puller is one for each repository and team: it keeps the login token.
func (r *Registry) puller(team string, repo name.Repository) (*remote.Puller, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := pullerKey(team, repo)
	if p, ok := r.pullers[key]; ok {
		return p, nil
	}
	transport, ok := r.transports[repo.RegistryStr()]
	if !ok {
		var err error
		if transport, err = newTransport(repo.RegistryStr()); err != nil {
			return nil, err
		}
		r.transports[repo.RegistryStr()] = transport
	}
	p, err := remote.NewPuller(remote.WithAuthFromKeychain(r.teams.keychain(team)), remote.WithTransport(transport),
		remote.WithUserAgent("kiln/"+version.String()), remote.WithRetryBackoff(retries))
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", repo.RegistryStr(), err)
	}
	r.pullers[key] = p
	return p, nil
}

func pullerKey(team string, repo name.Repository) string {
	return team + " " + repo.Scheme() + "://" + repo.Name()
}

// fault explains what a request ended with. A login that was refused is forgotten: it may be another one next time.
func (r *Registry) fault(err error, src *source, reference string) error {
	if denied(err) {
		r.mu.Lock()
		delete(r.pullers, pullerKey(src.team, src.ref.Context()))
		r.mu.Unlock()
	}
	return explain(err, src.host, reference)
}

// Fetch brings the blob that a source names into the cache, unless it is there, with the logins of the build's team.
// Fetches of one blob by a team are one.
func (r *Registry) Fetch(ctx context.Context, from *kilnv1.Source, build *kilnv1.BuildSpec) error {
	want, err := cache.ParseDigest(from.GetDigest())
	if err != nil {
		return step.Failf("image %s: %w", from.GetReference(), err)
	}
	for range tries {
		var shared bool
		if shared, err = r.fetchOnce(ctx, want, from, build); !shared || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		// Whoever began the fetch was stopped; nobody has stopped us.
	}
	return err
}

// fetchOnce takes part in the one fetch of a blob; shared says that others did, too.
func (r *Registry) fetchOnce(ctx context.Context, want cache.Digest, from *kilnv1.Source, build *kilnv1.BuildSpec) (shared bool, err error) {
	_, err, shared = r.fetches.Do(want.Hex()+" "+build.GetTeam(), func() (any, error) {
		missing, err := r.cfg.Blobs.MissingBlobs(ctx, []cache.Digest{want})
		if err != nil || len(missing) == 0 {
			return nil, err
		}
		src, err := r.locate(from.GetReference(), build.GetTeam(), build.GetMirrors())
		if err != nil {
			return nil, err
		}
		return nil, retry(ctx, func() error { return r.fetch(ctx, src, want, from.GetReference()) })
	})
	return shared, err
}

func (r *Registry) fetch(ctx context.Context, src *source, want cache.Digest, reference string) error {
	hash, err := v1.NewHash(want.String())
	if err != nil {
		return err
	}
	layer, err := src.puller.Layer(ctx, src.ref.Context().Digest(hash.String()))
	if err != nil {
		return r.fault(err, src, reference)
	}
	body, err := layer.Compressed()
	if err != nil {
		return r.fault(err, src, reference)
	}
	defer body.Close()
	draft, err := r.cfg.Blobs.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(body); err != nil {
		return r.fault(err, src, reference)
	}
	if _, err := draft.CommitAs(want); err != nil {
		return lied(err, src.host, want, reference)
	}
	return nil
}
