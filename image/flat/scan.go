package flat

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

const copyBuffer = 256 << 10

// scan reads the layers, the highest first: headers go to the spool, bodies to the data. A body that a higher layer
// seems to hide is passed over, which saves writing what nobody will read; names alone do not say for sure, so fill
// fetches it when it is needed after all.
func (f *flattener) scan() error {
	var above names
	for layer := len(f.layers) - 1; layer >= 0; layer-- {
		f.spool.begin(layer)
		var here names
		err := f.read(layer, func(_ uint32, e *tree.Entry, body io.Reader) error {
			what, name, err := classify(e)
			if err == nil {
				err = f.meter.entry(e)
			}
			if err != nil {
				return err
			}
			switch {
			case what != leaf || e.Body.Size == 0:
				e.Body = tree.Body{}
			case above.hide(name):
				e.Body.Blob = f.layers[layer] // where it still is
			default:
				if err := f.body(e, body); err != nil {
					return err
				}
			}
			if layer > 0 {
				here.add(name, what)
			}
			return f.spool.add(layer, e)
		})
		if err != nil {
			return err
		}
		if err := f.spool.end(layer); err != nil {
			return err
		}
		above.join(&here)
	}
	return nil
}

// body appends a body to the data.
func (f *flattener) body(e *tree.Entry, body io.Reader) error {
	offset := f.data.Size()
	n, err := io.CopyBuffer(writeOnly{f.data}, body, f.buf)
	if err != nil {
		return err
	}
	if n != e.Body.Size {
		return step.Failf("entry %q has %d bytes, not %d as it says", e.Name, n, e.Body.Size)
	}
	e.Body = tree.Body{Offset: offset, Size: n}
	return nil
}

// read calls each for the entries of a layer, with their numbers, in their order. Of an entry's body, the size is set.
func (f *flattener) read(layer int, each func(number uint32, e *tree.Entry, body io.Reader) error) error {
	digest := f.layers[layer]
	blob, err := f.blobs.Open(f.ctx, digest)
	if err != nil {
		if errors.Is(err, cache.ErrNotFound) {
			return &step.MissingBlob{Digest: digest}
		}
		return fmt.Errorf("open layer %s: %w", digest, err)
	}
	defer blob.Close()
	f.meter.begin(blob.Size)
	raw, err := decompress(blob.Section(0, blob.Size))
	if err != nil {
		return unpackError(digest, err)
	}
	defer raw.Close()
	tr := tar.NewReader(raw)
	for number := uint32(1); ; number++ {
		if number%256 == 0 && f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		if number == 0 {
			return step.Failf("layer %s has too many entries", digest)
		}
		header, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return unpackError(digest, err)
		}
		e, err := convert(header)
		if err == nil {
			if e.Type == tar.TypeReg {
				e.Body.Size = header.Size
			}
			err = each(number, e, tr)
		}
		if err != nil {
			return unpackError(digest, err)
		}
	}
	// What follows the end of the archive is of no interest, but a decompressor's checksum is at its end.
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, raw, f.buf); err != nil {
		return unpackError(digest, err)
	}
	return nil
}

// names remembers, by their hashes, what the layers above have. Whoever believes it only saves work.
type names struct {
	taken hashes // by an entry or a whiteout
	over  hashes // by something that hides what lower layers have below that name
}

func (n *names) add(name string, what kind) {
	switch what {
	case opaque:
		n.over.add(hash(name))
	case dir, global:
		n.taken.add(hash(name))
	case leaf, link, symlink, whiteout:
		h := hash(name)
		n.taken.add(h)
		n.over.add(h)
	}
}

func (n *names) join(other *names) {
	n.taken.join(&other.taken)
	n.over.join(&other.over)
}

// hide says that a file of that name seems to be hidden.
func (n *names) hide(name string) bool {
	if n.taken.has(hash(name)) {
		return true
	}
	for n.over.count > 0 && name != "." {
		if name = path.Dir(name); n.over.has(hash(name)) {
			return true
		}
	}
	return false
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
	var failure *step.Failure
	if errors.As(err, &failure) {
		return step.Failf("layer %s: %w", digest, failure.Err)
	}
	var write *writeError
	var file *fs.PathError
	if errors.As(err, &write) || errors.As(err, &file) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("unpack layer %s: %w", digest, err)
	}
	return step.Failf("layer %s cannot be unpacked: %w; pull or make the image again", digest, err)
}
