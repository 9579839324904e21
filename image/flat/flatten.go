package flat

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	copyBuffer     = 256 << 10
)

// Flatten unpacks layers (bottom first) into one tree and writes its file bodies to data. The tree refers to data
// by the digest that data gets only at its end, so emit is called for each entry, in order, with a body that has an
// offset but no blob yet.
func Flatten(ctx context.Context, blobs cache.Blobs, layers []cache.Digest, data io.Writer, emit func(*tree.Entry) error) error {
	f := &flattener{ctx: ctx, data: data, emit: emit, seen: map[string]bool{}, hidden: map[string]bool{}, buf: make([]byte, copyBuffer)}
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
	buf        []byte
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
		return unpackError(digest, err)
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
			return unpackError(digest, err)
		}
		if err := f.entry(header, tr); err != nil {
			var failure *step.Failure
			if errors.As(err, &failure) {
				return step.Failf("layer %s: %w", digest, failure.Err)
			}
			return unpackError(digest, err)
		}
	}
	// What follows the end of the archive is of no interest, but a decompressor's checksum is at its end.
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, raw, f.buf); err != nil {
		return unpackError(digest, err)
	}
	// An opaque mark hides what is below its own layer, so it counts from here on.
	for _, dir := range f.opaqueHere {
		f.hidden[dir] = true
	}
	f.opaqueHere = f.opaqueHere[:0]
	return nil
}

func (f *flattener) entry(header *tar.Header, body io.Reader) error {
	header.Name = path.Clean(header.Name)
	if err := checkName(header.Name); err != nil {
		return err
	}
	isDir := header.Typeflag == tar.TypeDir
	if header.Name == "." && !isDir {
		return step.Failf("the root of the image is not a directory")
	}
	if isSparse(header) {
		// A few bytes could stand for terabytes of zeros.
		return step.Failf("entry %q is a sparse file, which Kiln does not take; make the image again without", header.Name)
	}
	dir, base := path.Dir(header.Name), path.Base(header.Name)
	if base == opaqueName {
		f.opaqueHere = append(f.opaqueHere, dir)
		return nil
	}
	whiteout := strings.HasPrefix(base, whiteoutPrefix)
	subject := header.Name
	if whiteout && !isDir { // a directory with such a name is not passed on and removes nothing
		subject = path.Join(dir, base[len(whiteoutPrefix):])
	}
	if _, ok := f.seen[subject]; ok || f.isHidden(subject) {
		return nil
	}
	f.seen[subject] = whiteout || !isDir
	if whiteout {
		return nil
	}
	e, err := convert(header)
	if err != nil {
		return err
	}
	if header.Size > 0 && e.Type == tar.TypeReg {
		n, err := io.CopyBuffer(writeOnly{f.data}, body, f.buf)
		if err != nil {
			return err
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

// writeError is a fault of where bodies go.
type writeError struct{ error }

func (w *writeError) Unwrap() error { return w.error }

// writeOnly marks its writer's errors and hides its other methods.
type writeOnly struct{ w io.Writer }

func (w writeOnly) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// unpackError tells a layer that is not what it should be, which is its owner's fault, from a disk that failed.
func unpackError(digest cache.Digest, err error) error {
	var write *writeError
	var file *fs.PathError
	if errors.As(err, &write) || errors.As(err, &file) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("unpack layer %s: %w", digest, err)
	}
	return step.Failf("layer %s cannot be unpacked: %w; pull or make the image again", digest, err)
}

// isSparse knows the forms of GNU tar (tar manual, "Sparse Formats").
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
