package flat

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Whiteouts (OCI image-spec, layer.md).
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// kind is what an entry does.
type kind byte

const (
	leaf     kind = iota // a file or a device
	link                 // one more name of another entry
	symlink              // leads elsewhere
	dir                  //
	whiteout             // its name is what it removes
	opaque               // its name is the directory that it empties
	global               // a PAX header that is no file
	ignored              // a directory with a whiteout's name
)

// classify tells what the entry does, and the name to which it does it.
func classify(e *tree.Entry) (what kind, name string, err error) {
	parent, base := path.Split(e.Name)
	if strings.HasPrefix(base, whiteoutPrefix) && e.Type != tar.TypeXGlobalHeader {
		subject := base[len(whiteoutPrefix):]
		switch {
		case base == opaqueName:
			return opaque, path.Clean(parent), nil
		case e.Type == tar.TypeDir: // is not passed on and removes nothing, as in LinuxKit
			return ignored, e.Name, nil
		case subject == "" || subject == "." || subject == "..":
			return 0, "", step.Failf("entry %q is a whiteout of no name; make the image again", e.Name)
		}
		return whiteout, parent + subject, nil
	}
	switch e.Type {
	case tar.TypeDir:
		return dir, e.Name, nil
	case tar.TypeXGlobalHeader:
		return global, e.Name, nil
	}
	if e.Name == "." {
		return 0, "", step.Failf("the root of the image is not a directory")
	}
	switch e.Type {
	case tar.TypeLink:
		return link, e.Name, nil
	case tar.TypeSymlink:
		return symlink, e.Name, nil
	}
	return leaf, e.Name, nil
}

// clean is a name or a target of a hard link below the root of the image: a leading "/" means nothing.
func clean(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

// outside says that a clean name leads out of the image.
func outside(clean string) bool { return clean == ".." || strings.HasPrefix(clean, "../") }

// convert takes over a header; what cannot be part of an image is a step.Failure.
func convert(h *tar.Header) (*tree.Entry, error) {
	h.Name = clean(h.Name)
	if outside(h.Name) {
		return nil, step.Failf("entry %q is outside of the image", h.Name)
	}
	if h.Typeflag == tar.TypeLink && outside(clean(h.Linkname)) {
		return nil, step.Failf("hard link %q points outside of the image, to %q", h.Name, h.Linkname)
	}
	e, err := tree.FromHeader(h)
	if err != nil {
		return nil, &step.Failure{Err: err}
	}
	if e.Type == tar.TypeLink && strings.HasPrefix(e.Linkname, "/") {
		e.Linkname = clean(e.Linkname)
	}
	return e, nil
}
