package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/singleflight"

	"github.com/kiln-farm/kiln/builder/registry/pull"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/version"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Config of a Registry.
type Config struct {
	Store cache.Store
	Blobs cache.Blobs
	Teams string      // directory with a directory of logins and mirrors for each team; empty: docker's logins for all
	Pull  pull.Config // bounds of requests; zero: the usual ones
	Log   *slog.Logger
}

// Registry resolves references and fetches blobs. Its methods may be called by many goroutines.
type Registry struct {
	cfg     Config
	teams   teams
	client  *pull.Client
	fetches singleflight.Group

	mu           sync.Mutex
	repositories map[string]*pull.Repository // by team, scheme and name
	hearing      map[string][]*func(string)  // who waits for a fetch, by its key
}

// maxRepositories bounds how many repositories' tokens are kept.
const maxRepositories = 1024

// New makes a Registry.
func New(cfg Config) (*Registry, error) {
	if cfg.Store == nil || cfg.Blobs == nil {
		return nil, errors.New("a registry client needs a store and blobs")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Pull.UserAgent = "kiln/" + version.String()
	return &Registry{cfg: cfg, teams: teams{cfg.Teams}, client: pull.New(cfg.Pull),
		repositories: map[string]*pull.Repository{}, hearing: map[string][]*func(string){}}, nil
}

// source is where a reference is to be looked for: the registry itself or its mirror.
type source struct {
	ref  name.Reference
	host string
	key  string // in repositories
	repo *pull.Repository
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
	scheme := ""
	if mirror, ok := mirrors[registry]; ok {
		if parsed, scheme, err = mirrored(parsed, mirror); err != nil {
			return nil, step.Failf("mirror %s of %s: %w; write it as a URL, such as https://mirror.example.com or http://127.0.0.1:5000", mirror, registry, err)
		}
	}
	repo := parsed.Context()
	key := team + " " + scheme + "://" + repo.Name()
	return &source{ref: parsed, host: repo.RegistryStr(), key: key, repo: r.repository(key, repo, scheme, team)}, nil
}

// mirrored is a reference at a mirror, and how that is spoken with. One without a scheme is spoken with as any registry is.
func mirrored(ref name.Reference, mirror string) (name.Reference, string, error) {
	scheme, host, found := strings.Cut(mirror, "://")
	if !found {
		scheme, host = "", mirror
	}
	switch scheme {
	case "", "http", "https":
	default:
		return nil, "", fmt.Errorf("%q is neither http nor https", scheme)
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(host, "/"), "/") // a project of the mirror
	if host == "" {
		return nil, "", errors.New("it names no host")
	}
	at, err := name.NewRegistry(host)
	if err != nil {
		return nil, "", err
	}
	if _, err := name.NewRepository("mirror.invalid/" + prefix); prefix != "" && err != nil {
		return nil, "", fmt.Errorf("%q cannot be the beginning of a repository's name", prefix)
	}
	repo := at.Repo(prefix, ref.Context().RepositoryStr()) // not parsed: a host without a dot would be taken for a part of the name
	if _, isDigest := ref.(name.Digest); isDigest {
		return repo.Digest(ref.Identifier()), scheme, nil
	}
	return repo.Tag(ref.Identifier()), scheme, nil
}

// repository is one for each repository and team: it keeps the login token.
func (r *Registry) repository(key string, repo name.Repository, scheme, team string) *pull.Repository {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.repositories[key]; ok {
		return p
	}
	if len(r.repositories) >= maxRepositories {
		clear(r.repositories)
	}
	p := r.client.Repository(repo, scheme, r.teams.keychain(team))
	r.repositories[key] = p
	return p
}

// fault explains what a request ended with. A login that was refused is forgotten: it may be another one next time.
func (r *Registry) fault(err error, src *source, of subject) error {
	if denied(err) {
		r.mu.Lock()
		delete(r.repositories, src.key)
		r.mu.Unlock()
	}
	return explain(err, src.host, of, r.client.Patience())
}

// Fetch brings the blob that a source names into the cache, unless it is there, with the logins of the build's team.
// Fetches of one blob by a team are one. Log hears what it waits for.
func (r *Registry) Fetch(ctx context.Context, from *kilnv1.Source, build *kilnv1.BuildSpec, log func(string)) error {
	want, err := cache.ParseDigest(from.GetDigest())
	if err != nil {
		return step.Failf("image %s: %w", from.GetReference(), err)
	}
	key := want.Hex() + " " + build.GetTeam()
	defer r.hear(key, log)()
	for range tries {
		var shared bool
		if shared, err = r.fetchOnce(ctx, key, want, from, build); !shared || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		// Whoever began the fetch was stopped; nobody has stopped us.
	}
	return err
}

// hear has log told of a fetch until the function that it returns is called.
func (r *Registry) hear(key string, log func(string)) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := &log
	r.hearing[key] = append(r.hearing[key], heard)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hearing[key] = slices.DeleteFunc(r.hearing[key], func(f *func(string)) bool { return f == heard })
		if len(r.hearing[key]) == 0 {
			delete(r.hearing, key)
		}
	}
}

// tell tells all who wait for a fetch.
func (r *Registry) tell(key, line string) {
	r.mu.Lock()
	heard := slices.Clone(r.hearing[key])
	r.mu.Unlock()
	for _, log := range heard {
		(*log)(line)
	}
}

// fetchOnce takes part in the one fetch of a blob; shared says that others did, too.
func (r *Registry) fetchOnce(ctx context.Context, key string, want cache.Digest, from *kilnv1.Source, build *kilnv1.BuildSpec) (shared bool, err error) {
	_, err, shared = r.fetches.Do(key, func() (any, error) {
		missing, err := r.cfg.Blobs.MissingBlobs(ctx, []cache.Digest{want})
		if err != nil || len(missing) == 0 {
			return nil, err
		}
		src, err := r.locate(from.GetReference(), build.GetTeam(), build.GetMirrors())
		if err != nil {
			return nil, err
		}
		return nil, r.fetch(pull.Visit(ctx, func(line string) { r.tell(key, line) }), src, want, from.GetSize(), from.GetReference())
	})
	return shared, err
}

// fetch brings a blob of so many bytes (0: not known) into the cache. Bytes that are not those of its digest are asked for once more,
// all of them: what was put together of several answers may be of several minds.
func (r *Registry) fetch(ctx context.Context, src *source, want cache.Digest, size int64, reference string) error {
	err := r.download(ctx, src, want, size, reference)
	if errors.Is(err, cache.ErrMismatch) {
		err = r.download(ctx, src, want, size, reference)
	}
	if errors.Is(err, cache.ErrMismatch) {
		return lied(src.host, reference)
	}
	return err
}

func (r *Registry) download(ctx context.Context, src *source, want cache.Digest, size int64, reference string) error {
	draft, err := r.cfg.Blobs.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if err := src.repo.Blob(ctx, want.String(), size, draft); err != nil {
		var write *pull.WriteError
		switch {
		case errors.As(err, &write):
			return write.Err
		case errors.Is(err, pull.ErrTooLong):
			return cache.ErrMismatch
		}
		return r.fault(err, src, subject{reference, "blob " + want.String()})
	}
	_, err = draft.CommitAs(want)
	return err
}
