package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Input is all that a graph depends on.
type Input struct {
	Config *kilnv1.ConfigBundle
	Lock   *kilnv1.Lock
	Parameters
}

// Plan makes the graph of a build.
func Plan(ctx context.Context, in Input, store Store) (*kilnv1.Graph, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	locked, err := readLock(in.Lock)
	if err != nil {
		return nil, err
	}
	if err := in.settle(in.Config); err != nil {
		return nil, err
	}
	g := newGraph()
	if len(in.Formats) == 0 { // who asks for none wants to know what references mean, which is known by now
		return g.finish(in.Platforms)
	}
	for _, platform := range in.Platforms {
		m, err := linuxkit.Merge(in.Config) // one for each platform: moby's functions change it
		if err != nil {
			return nil, &step.Failure{Err: err}
		}
		in.extend(&m)
		g.platform = platform
		p := &planner{
			ctx: ctx, in: in, store: store, graph: g, platform: platform, locked: locked, m: m,
			ids: linuxkit.IDs(m), volumes: map[string]*moby.Volume{}, roots: map[string]string{},
		}
		for _, v := range m.Volumes {
			p.volumes[v.Name] = v
		}
		img, err := p.image()
		if err != nil {
			return nil, err
		}
		if err := img.targets(in.Formats); err != nil {
			return nil, err
		}
	}
	return g.finish(in.Platforms)
}

// planner plans one platform.
type planner struct {
	ctx      context.Context
	in       Input
	store    Store
	graph    *graph
	platform string
	locked   locked
	m        moby.Moby
	ids      map[string]uint32       // user and group ids by container
	volumes  map[string]*moby.Volume // of all documents, which moby.Moby.VolByName does not know
	roots    map[string]string       // image reference to where its root filesystem is already (LinuxKit's dupMap)
	sboms    []sbomInput
}

// resolved is what a reference means for one platform, checked.
type resolved struct {
	*kilnv1.ResolvedImage
	config cache.Digest
	layers []cache.Digest
}

// locked maps reference and platform to images, and remembers the order of the lock.
type locked map[string]map[string]*resolved

func readLock(lock *kilnv1.Lock) (locked, error) {
	out := locked{}
	for _, image := range lock.GetImages() {
		r := &resolved{ResolvedImage: image}
		var err error
		if r.config, err = cache.ParseDigest(image.GetConfig()); err != nil {
			return nil, step.Failf("the lock's config of %s for %s: %w; make the lock again with \"kiln lock\"", image.GetReference(), image.GetPlatform(), err)
		}
		for _, l := range image.GetLayers() {
			d, err := cache.ParseDigest(l.GetDigest())
			if err != nil {
				return nil, step.Failf("the lock's layers of %s for %s: %w; make the lock again with \"kiln lock\"", image.GetReference(), image.GetPlatform(), err)
			}
			r.layers = append(r.layers, d)
		}
		if out[image.GetReference()] == nil {
			out[image.GetReference()] = map[string]*resolved{}
		}
		out[image.GetReference()][image.GetPlatform()] = r
	}
	return out, nil
}

// resolve finds an image for the planner's platform.
func (p *planner) resolve(ref string) (*resolved, error) {
	if r, ok := p.locked[ref][p.platform]; ok {
		return r, nil
	}
	var have []string
	for platform := range p.locked[ref] {
		have = append(have, platform)
	}
	if len(have) == 0 {
		return nil, step.Failf("image %s is not in the lock; make the lock again with \"kiln lock\"", ref)
	}
	slices.Sort(have)
	return nil, step.Failf("image %s has no %s; it has %s", ref, p.platform, strings.Join(have, ", "))
}

// config loads an image's configuration, whose label is checked before LinuxKit's parser sees it.
func (p *planner) config(ref string) (imagespec.ImageConfig, error) {
	r, err := p.resolve(ref)
	if err != nil {
		return imagespec.ImageConfig{}, err
	}
	b, err := p.store.Load(p.ctx, r.config)
	if err != nil {
		return imagespec.ImageConfig{}, fmt.Errorf("read the config of %s: %w", ref, err)
	}
	var image imagespec.Image
	if err := json.Unmarshal(b, &image); err != nil {
		return imagespec.ImageConfig{}, step.Failf("the config of image %s is not an OCI image config (%v); publish the image again", ref, err)
	}
	if label := image.Config.Labels[configLabel]; label != "" {
		if err := linuxkit.CheckLabel(ref, label); err != nil {
			return imagespec.ImageConfig{}, &step.Failure{Err: err}
		}
	}
	return image.Config, nil
}

// configLabel is where an image carries defaults for its container.
const configLabel = "org.mobyproject.config"

// tree is the flattened root filesystem of an image.
func (p *planner) tree(ref string) (input, error) {
	r, err := p.resolve(ref)
	if err != nil {
		return input{}, err
	}
	var inputs []input
	var sources []*kilnv1.Source
	for i, d := range r.layers {
		inputs = append(inputs, blobInput(fmt.Sprintf("layer/%d", i), d))
		sources = append(sources, source(ref, r.GetLayers()[i]))
	}
	node := p.graph.add(step.Flatten, "unpack "+short(ref), step.FlattenParams{}, inputs, sources...)
	return nodeInput("tree", nodeOutput{node, "tree"}), nil
}

func source(ref string, l *kilnv1.Layer) *kilnv1.Source {
	return &kilnv1.Source{Digest: l.GetDigest(), Reference: ref, Size: l.GetSize()}
}

// short is a reference as people say it: without what Docker Hub's names imply, and with long hashes cut.
func short(ref string) string {
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")
	const plain, keep = 16, 7 // tags up to plain stay whole
	if at := strings.LastIndexAny(ref, ":@"); at >= 0 && !strings.Contains(ref[at:], "/") && len(ref)-at > plain {
		ref = ref[:at+1+keep] + "…"
	}
	return ref
}
