package flat

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// Flatten writes the tree of layers (bottom first) to index and its file bodies to data. The index refers to data
// by the digest that data gets, so entries are handed to the index only when data is committed: emit is called for each
// entry in order with bodies that have offsets but no blob yet.
func Flatten(ctx context.Context, blobs cache.Blobs, layers []cache.Digest, data io.Writer, emit func(*tree.Entry) error) error {
	f := &flattener{ctx: ctx, data: data, emit: emit, seen: map[string]bool{}, hidden: map[string]bool{}, implied: map[string]bool{}}
	for i := len(layers) - 1; i >= 0; i-- {
		if err := f.layer(blobs, layers[i]); err != nil {
			return err
		}
	}
	return nil
}

type flattener struct {
	ctx    context.Context
	data   io.Writer
	offset int64
	emit   func(*tree.Entry) error

	// seen has every name that was emitted or hidden; true: its children in lower layers are hidden, too.
	seen map[string]bool
	// hidden names directories that a layer above the current one made opaque; opaqueHere those of the current one.
	hidden     map[string]bool
	opaqueHere []string
	// implied has directories that exist only because something in them was emitted.
	implied map[string]bool
}

func (f *flattener) layer(blobs cache.Blobs, digest cache.Digest) error {
	blob, err := blobs.Open(f.ctx, digest)
	if err != nil {
		if errors.Is(err, cache.ErrNotFound) {
			return &step.MissingBlob{Digest: digest}
		}
		return fmt.Errorf("open layer %s: %w", digest, err)
	}
	defer blob.Close()
	raw, err := decompress(blob.Section(0, blob.Size))
	if err != nil {
		return step.Failf("layer %s cannot be unpacked: %w; pull or make the image again", digest, err)
	}
	defer raw.Close()
	tr := tar.NewReader(raw)
	for n := 0; ; n++ {
		if n%256 == 0 {
			if err := f.ctx.Err(); err != nil {
				return err
			}
		}
		header, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return step.Failf("layer %s cannot be unpacked: %w; pull or make the image again", digest, err)
		}
		if err := f.entry(header, tr); err != nil {
			var failure *step.Failure
			if errors.As(err, &failure) {
				return step.Failf("layer %s: %w", digest, failure.Err)
			}
			return fmt.Errorf("layer %s: %w", digest, err)
		}
	}
	// An opaque mark hides what is below its own layer, so it counts from here on.
	for _, dir := range f.opaqueHere {
		f.hidden[dir] = true
	}
	f.opaqueHere = f.opaqueHere[:0]
	return nil
}

func (f *flattener) entry(header *tar.Header, body io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name := path.Clean(header.Name)
	if err := checkName(name); err != nil {
		return err
	}
	if name == "." && header.Typeflag != tar.TypeDir {
		return step.Failf("entry %q is not a directory", header.Name)
	}
	header.Name = name
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if base == opaqueName {
		f.opaqueHere = append(f.opaqueHere, dir)
		return nil
	}
	whiteout := strings.HasPrefix(base, whiteoutPrefix)
	subject := name
	if whiteout {
		subject = path.Join(dir, base[len(whiteoutPrefix):])
	}
	if _, ok := f.seen[subject]; ok || f.isHidden(subject) {
		return nil
	}
	f.seen[subject] = whiteout || header.Typeflag != tar.TypeDir
	if whiteout {
		return nil
	}
	if header.Typeflag != tar.TypeDir && f.implied[name] {
		// Unpacked in order, the link or file would stand where a directory already has entries.
		return step.Failf("entry %q is a directory with entries and something else at once", name)
	}
	f.imply(dir)
	e, err := convert(header)
	if err != nil {
		return err
	}
	if header.Size > 0 {
		n, err := io.Copy(f.data, body)
		if err != nil {
			return classify(err)
		}
		e.Body = tree.Body{Offset: f.offset, Size: n}
		f.offset += n
	}
	return f.emit(e)
}

// isHidden says that a directory above name was removed, replaced by something else, or made opaque by a higher layer.
func (f *flattener) isHidden(name string) bool {
	for dir := name; dir != "."; {
		dir = path.Dir(dir)
		if f.hidden[dir] || f.seen[dir] {
			return true
		}
	}
	return false
}

func (f *flattener) imply(dir string) {
	for ; dir != "." && !f.implied[dir]; dir = path.Dir(dir) {
		if _, emitted := f.seen[dir]; emitted {
			return
		}
		f.implied[dir] = true
	}
}

// convert refuses what cannot be part of an image.
func convert(h *tar.Header) (*tree.Entry, error) {
	if h.Typeflag == tar.TypeLink && checkName(path.Clean(strings.TrimPrefix(h.Linkname, "/"))) != nil {
		return nil, step.Failf("hard link %q points outside of the image, to %q", h.Name, h.Linkname)
	}
	e, err := tree.FromHeader(h)
	if err != nil {
		return nil, &step.Failure{Err: err}
	}
	return e, nil
}

func checkName(clean string) error {
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return step.Failf("entry %q is outside of the image", clean)
	}
	return nil
}

// classify: a fault while reading is the layer's; one while writing is ours. io.Copy does not tell, but the tar
// reader's and the decompressors' errors are known.
func classify(err error) error {
	var corrupt *corruptError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) {
		return step.Failf("cannot be unpacked: %w; pull or make the image again", err)
	}
	return err
}
