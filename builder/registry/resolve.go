package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kiln-farm/kiln/builder/registry/pull"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxManifest = 4 << 20 // bytes, as registries bound them (distribution-spec)
	parallel    = 8       // references at a time
)

// Request says what to resolve.
type Request struct {
	References []linuxkit.Reference
	Platforms  []string
	Team       string
	Pull       bool // ask the registry even when it was asked before
	Mirrors    map[string]string
	Locked     *kilnv1.Lock // nil: not locked
	Log        func(string) // hears what is waited for; nil: nobody does
}

func (r *Request) log() func(string) {
	if r.Log == nil {
		return func(string) {}
	}
	return r.Log
}

// Resolve resolves every reference for every platform.
func (r *Registry) Resolve(ctx context.Context, req Request) (*kilnv1.Lock, error) {
	found := make([][]*kilnv1.ResolvedImage, len(req.References))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, ref := range req.References {
		group.Go(func() error {
			var err error
			found[i], err = r.resolve(ctx, req, ref)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	lock := &kilnv1.Lock{Images: slices.Concat(found...)}
	slices.SortFunc(lock.Images, func(a, b *kilnv1.ResolvedImage) int {
		return cmp.Or(cmp.Compare(a.GetReference(), b.GetReference()), cmp.Compare(a.GetPlatform(), b.GetPlatform()))
	})
	return lock, nil
}

// resolve finds what one reference means for each platform.
func (r *Registry) resolve(ctx context.Context, req Request, ref linuxkit.Reference) ([]*kilnv1.ResolvedImage, error) {
	if req.Locked != nil {
		return r.locked(ctx, req, ref)
	}
	if target, err := r.named(ctx, ref.Name); err != nil || target != nil {
		if err != nil {
			return nil, err
		}
		return r.images(ctx, target, ref, req.Platforms, 0)
	}
	if !req.Pull {
		if out := r.remembered(ctx, req, ref); out != nil {
			return out, nil
		}
	}
	src, err := r.locate(ref.Name, req.Team, req.Mirrors)
	if err != nil {
		return nil, err
	}
	ctx = pull.Visit(ctx, req.log())
	target, err := r.ask(ctx, src, src.ref.Identifier(), subject{reference: ref.Name})
	if err != nil {
		return nil, err
	}
	out, err := r.images(ctx, target, ref, req.Platforms, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	for _, image := range out {
		if err := record.PutRef(ctx, r.cfg.Store, req.Team, image); err != nil {
			r.cfg.Log.Warn("what a reference means could not be remembered", "reference", ref.Name, "error", err)
		}
	}
	return out, nil
}

// named is an image made or imported here: under the name itself, or with :latest when it has no tag.
func (r *Registry) named(ctx context.Context, reference string) (*document, error) {
	for _, try := range []string{reference, reference + ":latest"} {
		record, err := record.GetName(ctx, r.cfg.Store, try)
		if errors.Is(err, cache.ErrNotFound) {
			if last := reference[strings.LastIndex(reference, "/")+1:]; strings.ContainsAny(last, ":@") {
				break
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		raw, err := r.blob(ctx, record.GetTarget())
		if err != nil {
			return nil, step.Failf("image %s was imported, but %w; import or make it again", try, err)
		}
		return &document{digest: record.GetTarget(), raw: raw, mediaType: record.GetMediaType()}, nil
	}
	return nil, nil
}

// remembered is what a registry said before, when everything that planning reads is still in the cache; else nil.
func (r *Registry) remembered(ctx context.Context, req Request, ref linuxkit.Reference) []*kilnv1.ResolvedImage {
	var out []*kilnv1.ResolvedImage
	for _, platform := range req.Platforms {
		image, err := record.GetRef(ctx, r.cfg.Store, req.Team, ref.Name, platform)
		if err != nil || !r.present(ctx, image, ref) {
			return nil
		}
		out = append(out, image)
	}
	return out
}

// present says whether the blobs that planning reads are in the cache.
func (r *Registry) present(ctx context.Context, image *kilnv1.ResolvedImage, ref linuxkit.Reference) bool {
	digests := []string{image.GetManifest(), image.GetConfig()}
	if ref.AllPlatforms && image.GetIndex() != "" {
		raw, err := r.blob(ctx, image.GetIndex())
		var index v1.IndexManifest
		if err != nil || json.Unmarshal(raw, &index) != nil {
			return false
		}
		for _, m := range index.Manifests {
			if m.MediaType.IsImage() {
				digests = append(digests, m.Digest.String())
			}
		}
	}
	var want []cache.Digest
	for _, s := range digests {
		d, err := cache.ParseDigest(s)
		if err != nil {
			return false
		}
		want = append(want, d)
	}
	missing, err := r.cfg.Blobs.MissingBlobs(ctx, want)
	return err == nil && len(missing) == 0
}

// locked takes what the lock says, and brings what planning reads into the cache.
func (r *Registry) locked(ctx context.Context, req Request, ref linuxkit.Reference) ([]*kilnv1.ResolvedImage, error) {
	var out []*kilnv1.ResolvedImage
	for _, platform := range req.Platforms {
		at := slices.IndexFunc(req.Locked.GetImages(), func(i *kilnv1.ResolvedImage) bool {
			return i.GetReference() == ref.Name && i.GetPlatform() == platform
		})
		if at < 0 {
			return nil, step.Failf("image %s for %s is not in the lock; run `kiln lock` again", ref.Name, platform)
		}
		image := req.Locked.GetImages()[at]
		if !r.present(ctx, image, ref) {
			if err := r.restore(ctx, req, ref, image); err != nil {
				return nil, err
			}
		}
		out = append(out, image)
	}
	return out, nil
}

func (r *Registry) restore(ctx context.Context, req Request, ref linuxkit.Reference, image *kilnv1.ResolvedImage) error {
	src, err := r.locate(ref.Name, req.Team, req.Mirrors)
	if err != nil {
		return err
	}
	ctx = pull.Visit(ctx, req.log())
	if ref.AllPlatforms && image.GetIndex() != "" {
		index, err := r.manifest(ctx, src, image.GetIndex(), ref.Name)
		if err != nil {
			return err
		}
		_, err = r.images(ctx, index, ref, []string{image.GetPlatform()}, 0)
		return err
	}
	manifest, err := r.manifest(ctx, src, image.GetManifest(), ref.Name)
	if err != nil {
		return err
	}
	_, err = r.image(ctx, manifest, ref.Name, image.GetPlatform())
	return err
}

// document is a manifest or an index. How a registry called it (Content-Type) counts for nothing: proxies and file servers
// call it anything.
type document struct {
	digest    string
	raw       []byte
	mediaType string  // as it was imported; else empty
	src       *source // nil: it is in the cache with all that belongs to it
}

// store keeps a document that a registry sent.
func (r *Registry) store(ctx context.Context, src *source, raw []byte, digest string) (*document, error) {
	draft, err := r.cfg.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	if _, err := draft.Write(raw); err != nil {
		return nil, err
	}
	if _, _, err := draft.Commit(); err != nil {
		return nil, err
	}
	return &document{digest: digest, raw: raw, src: src}, nil
}

// manifest is a manifest or index by digest, from the cache or the registry.
func (r *Registry) manifest(ctx context.Context, src *source, digest, reference string) (*document, error) {
	if raw, err := r.blob(ctx, digest); err == nil {
		return &document{digest: digest, raw: raw, src: src}, nil
	} else if src == nil {
		return nil, step.Failf("image %s: %w; import or make it again", reference, err)
	}
	return r.ask(ctx, src, digest, subject{reference, "manifest " + digest})
}

// ask asks a registry for a manifest or an index, by tag or digest, and keeps it.
func (r *Registry) ask(ctx context.Context, src *source, identifier string, of subject) (*document, error) {
	raw, called, err := src.repo.Manifest(ctx, identifier, maxManifest)
	if errors.Is(err, pull.ErrTooLong) {
		return nil, step.Failf("registry %s sent a manifest of more than %d bytes for %s, which is not allowed", src.host, maxManifest, of.reference)
	}
	if err != nil {
		return nil, r.fault(err, src, of)
	}
	got := cache.SumBytes(raw).String()
	if strings.HasPrefix(identifier, "sha256:") && got != identifier {
		return nil, lied(src.host, of.reference)
	}
	if !json.Valid(raw) { // a page of a proxy, most likely
		return nil, step.Failf("registry %s sent no manifest for %s: it is not valid JSON (Content-Type %.100q); check the name and the network, or name a mirror with --mirror", src.host, of.reference, called)
	}
	return r.store(ctx, src, raw, got)
}

// blob reads a small blob of the cache whole.
func (r *Registry) blob(ctx context.Context, digest string) ([]byte, error) {
	d, err := cache.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	f, err := r.cfg.Blobs.Open(ctx, d)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, fmt.Errorf("blob %s is not in the cache any more", d)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > maxManifest {
		return nil, fmt.Errorf("blob %s has %d bytes, too many for a manifest", d, f.Size)
	}
	raw := make([]byte, f.Size)
	_, err = io.ReadFull(f, raw)
	return raw, err
}
