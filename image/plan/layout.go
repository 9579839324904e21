package plan

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutFile is LinuxKit's oci-layout, tabs included.
const layoutFile = "{\n\t\t\"imageLayoutVersion\": \"1.0.0\"\n\t}"

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

// layout gathers an OCI image layout (OCI image-spec, image-layout.md) as LinuxKit writes it.
type layout struct {
	*planner
	ref     string
	prefix  string
	entries []tree.Entry
	bodies  []input
	sources []*kilnv1.Source
	named   map[cache.Digest]bool // blobs that bodies have
}

// layoutPart is an image stored as a layout: its manifests of the platforms asked for (all when there are none), what
// they name, and the index whole.
func (p *planner) layoutPart(ref, prefix string, platforms []string, location, label string) (part, error) {
	l := &layout{planner: p, ref: ref, prefix: prefix, named: map[cache.Digest]bool{}}
	if err := l.write(platforms); err != nil {
		return part{}, err
	}
	out, err := p.plainPart(append(prefixes(prefix), l.entries...), ref, location, label)
	out.bodies, out.sources = l.bodies, l.sources
	return out, err
}

func (l *layout) write(platforms []string) error {
	digest, raw, err := l.index()
	if err != nil {
		return err
	}
	var index imagespec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return step.Failf("the index of image %s is not JSON (%w); publish the image again", l.ref, err)
	}
	if err := l.file("oci-layout", []byte(layoutFile)); err != nil {
		return err
	}
	l.dir("blobs/")
	l.dir("blobs/sha256/")
	for _, m := range index.Manifests {
		if len(platforms) > 0 && !wanted(m.Platform, platforms) {
			continue
		}
		if m.MediaType != imagespec.MediaTypeImageManifest && m.MediaType != dockerManifest {
			continue
		}
		if err := l.manifest(m); err != nil {
			return err
		}
	}
	if err := l.file("blobs/sha256/"+digest.Hex(), raw); err != nil {
		return err
	}
	top, err := l.indexJSON(digest, int64(len(raw)))
	if err != nil {
		return err
	}
	return l.file("index.json", top)
}

// index loads the image's index, which is the same for all platforms.
func (l *layout) index() (cache.Digest, []byte, error) {
	platforms := l.locked[l.ref]
	for _, platform := range slices.Sorted(maps.Keys(platforms)) {
		if platforms[platform].GetIndex() == "" {
			continue
		}
		d, err := cache.ParseDigest(platforms[platform].GetIndex())
		if err != nil {
			return d, nil, step.Failf("the lock's index of %s: %w; make the lock again with \"kiln lock\"", l.ref, err)
		}
		raw, err := l.store.Load(l.ctx, d)
		if err != nil {
			err = fmt.Errorf("read the index of %s: %w", l.ref, err)
		}
		return d, raw, err
	}
	return cache.Digest{}, nil, step.Failf("image %s is a single manifest, and an OCI layout needs an index; publish it for several platforms, or use format filesystem", l.ref)
}

func (l *layout) manifest(desc imagespec.Descriptor) error {
	digest, err := cache.ParseDigest(desc.Digest.String())
	if err != nil {
		return step.Failf("the index of image %s: %w; publish the image again", l.ref, err)
	}
	raw, err := l.store.Load(l.ctx, digest)
	if err != nil {
		return fmt.Errorf("read a manifest of %s: %w", l.ref, err)
	}
	var m imagespec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return step.Failf("manifest %s of image %s is not JSON (%w); publish the image again", digest, l.ref, err)
	}
	for _, d := range append([]imagespec.Descriptor{m.Config}, m.Layers...) {
		if err := l.blob(d); err != nil {
			return err
		}
	}
	return l.file("blobs/sha256/"+digest.Hex(), raw)
}

// blob adds a blob of the image by reference: its bytes go into the output straight from the cache.
func (l *layout) blob(desc imagespec.Descriptor) error {
	digest, err := cache.ParseDigest(desc.Digest.String())
	if err != nil || desc.Size <= 0 {
		return step.Failf("image %s names the blob %q of %d bytes, which cannot be; publish the image again", l.ref, desc.Digest, desc.Size)
	}
	e := l.entry("blobs/sha256/"+digest.Hex(), tar.TypeReg, 0o644)
	e.Body = tree.Body{Size: desc.Size, Blob: digest}
	l.entries = append(l.entries, e)
	if !l.named[digest] {
		l.named[digest] = true
		l.bodies = append(l.bodies, blobInput(fmt.Sprintf("body/%d", len(l.bodies)), digest))
		l.sources = append(l.sources, &kilnv1.Source{Digest: digest.String(), Reference: l.ref, Size: desc.Size})
	}
	return nil
}

// indexJSON names the index, with fields in the order in which LinuxKit has them.
func (l *layout) indexJSON(digest cache.Digest, size int64) ([]byte, error) {
	named, err := name.ParseReference(l.ref)
	if err != nil {
		return nil, step.Failf("image %s cannot be named in an OCI layout: %w; use another name", l.ref, err)
	}
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Size        int64             `json:"size"`
		Digest      string            `json:"digest"`
		Annotations map[string]string `json:"annotations"`
	}
	return json.MarshalIndent(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, imagespec.MediaTypeImageIndex, []descriptor{{
		MediaType: imagespec.MediaTypeImageIndex, Size: size, Digest: digest.String(),
		Annotations: map[string]string{imagespec.AnnotationRefName: named.String()},
	}}}, "", "   ")
}

func (l *layout) file(name string, b []byte) error {
	e := l.entry(name, tar.TypeReg, 0o644)
	var err error
	e.Body, err = l.generated(b)
	l.entries = append(l.entries, e)
	return err
}

func (l *layout) dir(name string) { l.entries = append(l.entries, l.entry(name, tar.TypeDir, 0o755)) }

// entry has the time that a tar header without one is read back with.
func (l *layout) entry(name string, kind byte, mode int64) tree.Entry {
	return tree.Entry{Name: l.prefix + name, Type: kind, Mode: mode, ModTime: time.Unix(0, 0).UTC()}
}

// wanted matches as LinuxKit does: a platform asked for without a variant takes any.
func wanted(have *imagespec.Platform, platforms []string) bool {
	for _, p := range platforms {
		want := strings.SplitN(p, "/", 3)
		if have != nil && len(want) >= 2 && want[0] == have.OS && want[1] == have.Architecture &&
			(len(want) == 2 || want[2] == have.Variant) {
			return true
		}
	}
	return false
}
