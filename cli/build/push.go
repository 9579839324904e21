package build

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kiln-farm/kiln/builder/registry/logins"
	"github.com/kiln-farm/kiln/builder/registry/pull"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/userfile"
)

const (
	formatOCI = "oci"
	suffixOCI = "-oci.tar"
)

// pushTo checks where to push to; nil for nowhere. The format that is pushed is built in any case.
func pushTo(ref string, formats []outputFormat, detach bool) (name.Reference, error) {
	if ref == "" {
		return nil, nil
	}
	if detach {
		return nil, ui.Usagef("--push needs the outputs, and --detach leaves before there are any: leave one of them out")
	}
	to, err := name.ParseReference(ref)
	if err != nil {
		return nil, ui.Usagef("--push %q is not an image reference; write it like registry.example/name:tag", ref)
	}
	for _, f := range formats {
		if f.name == formatOCI {
			return to, nil
		}
	}
	return nil, ui.Usagef("--push pushes what the format oci makes: ask for it with --format oci")
}

// pushImages pushes the layouts that were written: one image as it is, those of several platforms as an index. Each goes
// with its SBOM.
func pushImages(ctx context.Context, to name.Reference, outputs []target, stderr io.Writer) (err error) {
	if to == nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "kiln-push-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	with := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(logins.Docker()),
		remote.WithTransport(pull.NewTransport()), remote.WithUserAgent("kiln")}
	var index v1.ImageIndex = empty.Index
	var one v1.Image
	n := 0
	for i, t := range outputs {
		if t.suffix != suffixOCI {
			continue
		}
		at := filepath.Join(dir, fmt.Sprint(i))
		if err := unpackLayout(t.path, at); err != nil {
			return fmt.Errorf("read %s: %w", t.path, err)
		}
		image, desc, err := pushLayout(at, to, with)
		if err != nil {
			return pushProblem(to, err)
		}
		index = mutate.AppendManifests(mutate.IndexMediaType(index, types.OCIImageIndex), mutate.IndexAddendum{Add: image, Descriptor: *desc})
		one = image
		n++
	}
	var pushed v1.Hash
	if n == 1 {
		if err = remote.Write(to, one, with...); err == nil {
			pushed, err = one.Digest()
		}
	} else if err = remote.WriteIndex(to, index, with...); err == nil {
		pushed, err = index.Digest()
	}
	if err != nil {
		return pushProblem(to, err)
	}
	_, err = fmt.Fprintf(stderr, "pushed %s@%s\n", to, pushed)
	return err
}

// pushProblem says why a push failed. What was built is there.
func pushProblem(to name.Reference, err error) error {
	host := to.Context().RegistryStr()
	var refused *transport.Error
	var unreachable *net.OpError
	switch {
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return fmt.Errorf("registry %s does not let you push to %s: log in with docker login %s, or push elsewhere; the files are written", host, to, host)
	case errors.As(err, &unreachable):
		return fmt.Errorf("registry %s cannot be reached to push to it: %w; check the name and the network; the files are written", host, unreachable.Err)
	}
	return fmt.Errorf("push to %s: %w; the files are written", to, err)
}

// pushLayout pushes all that is in a layout by digest, and gives its image.
func pushLayout(dir string, ref name.Reference, with []remote.Option) (v1.Image, *v1.Descriptor, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	var main v1.Image
	var desc *v1.Descriptor
	for i := range m.Manifests {
		image, err := index.Image(m.Manifests[i].Digest)
		if err != nil {
			return nil, nil, err
		}
		if err := remote.Write(ref.Context().Digest(m.Manifests[i].Digest.String()), image, with...); err != nil {
			return nil, nil, err
		}
		if main == nil { // the image comes first, and then what refers to it
			main, desc = image, &m.Manifests[i]
			desc.Annotations = nil // its name in the layout
		}
	}
	if main == nil {
		return nil, nil, errors.New("there is no image in it")
	}
	return main, desc, nil
}

// layoutNames are the only names that a layout's tar has.
var layoutNames = regexp.MustCompile(`^(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})$`)

// unpackLayout unpacks a layout that ociLayout made.
func unpackLayout(path, dir string) error {
	f, err := userfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700); err != nil {
		return err
	}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !layoutNames.MatchString(h.Name) {
			return fmt.Errorf("it has a file %q", h.Name)
		}
		to, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(h.Name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, r)
		if err = errors.Join(err, to.Close()); err != nil {
			return err
		}
	}
}
