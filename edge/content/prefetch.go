package content

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/intent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// prefetchAgain is how long the edge waits before it tries again to fetch what it could not.
const prefetchAgain = 5 * time.Second

// prefetcher fetches the files of releases that machines are to boot before they ask, so that a release costs one
// reading of the shared cache however many they are.
type prefetcher struct {
	files *Files
	log   *slog.Logger
	wake  chan struct{}

	mu     sync.Mutex // guards wanted
	wanted []*kilnv1.FileRef
}

// set takes a new intent.
func (p *prefetcher) set(in *kilnv1.Intent) {
	used := map[string]bool{}
	for _, g := range in.GetGroups() {
		used[g.GetRelease()] = true
	}
	for _, m := range in.GetMachines() {
		used[m.GetBootOnce()] = true
	}
	var wanted []*kilnv1.FileRef
	for _, r := range in.GetReleases() {
		for _, f := range r.GetPlatforms() {
			if used[r.GetName()] {
				wanted = append(wanted, intent.FilesOf(f)...)
			}
		}
	}
	p.mu.Lock()
	p.wanted = wanted
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *prefetcher) run(ctx context.Context) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		wanted := p.wanted
		p.mu.Unlock()
		here := 0
		for _, ref := range wanted {
			if err := p.fetch(ctx, ref); err != nil && ctx.Err() == nil {
				p.log.Warn("a file of a release could not be fetched yet", "file", ref.GetDigest(), "error", err)
				time.AfterFunc(prefetchAgain, func() {
					select {
					case p.wake <- struct{}{}:
					default:
					}
				})
				break
			}
			here++
		}
		if here == len(wanted) && here > 0 && ctx.Err() == nil {
			p.log.Info("all files that machines are to boot are here", "files", here)
		}
	}
}

// fetch brings all blobs of a file here.
func (p *prefetcher) fetch(ctx context.Context, ref *kilnv1.FileRef) error {
	a, err := readFile(ctx, p.files.here, ref)
	if err != nil {
		return err
	}
	seen := map[cache.Digest]bool{}
	for _, e := range a.Extents {
		if e.Blob.IsZero() || seen[e.Blob] {
			continue
		}
		seen[e.Blob] = true
		f, err := p.files.here.Open(ctx, e.Blob)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// Prefetch fetches the files of releases that machines are to boot until ctx ends.
func (f *Files) Prefetch(ctx context.Context, intents *intent.Store, log *slog.Logger) {
	p := &prefetcher{files: f, log: log, wake: make(chan struct{}, 1)}
	intents.OnChange(p.set)
	p.run(ctx)
}
