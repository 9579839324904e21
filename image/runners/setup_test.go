package runners

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

var epoch = time.Unix(1622548800, 0).UTC()

// farm runs steps against a cache of their own.
type farm struct {
	t     testing.TB
	blobs *disk.Store
	lines []string
}

func newFarm(t testing.TB) *farm {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &farm{t: t, blobs: dir}
}

func (f *farm) put(b []byte) cache.Digest {
	f.t.Helper()
	o, err := stepio.Put(context.Background(), f.blobs, "", b)
	if err != nil {
		f.t.Fatal(err)
	}
	return o.Digest
}

func (f *farm) get(d cache.Digest) []byte {
	f.t.Helper()
	b, err := stepio.Get(context.Background(), f.blobs, d, 1<<30)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// try runs a step.
func (f *farm) try(kind string, params any, inputs ...step.Input) (*step.Response, error) {
	return All()[kind].Run(context.Background(), &step.Request{
		Kind: kind, Version: 1, Params: step.EncodeParams(params), Inputs: inputs, Blobs: f.blobs,
		Log: func(line string) { f.lines = append(f.lines, line) },
	})
}

// run runs a step that must succeed and returns the digest of its first output.
func (f *farm) run(kind string, params any, inputs ...step.Input) cache.Digest {
	f.t.Helper()
	out, err := f.try(kind, params, inputs...)
	if err != nil {
		f.t.Fatalf("%s: %v", kind, err)
	}
	return out.Outputs[0].Digest
}

// inputs names digests NAME/0, NAME/1, ...
func inputs(name string, digests ...cache.Digest) []step.Input {
	var out []step.Input
	for i, d := range digests {
		out = append(out, step.Input{Name: fmt.Sprintf("%s/%d", name, i), Digest: d})
	}
	return out
}

// bytes are the contents of an artifact, whose size and digest are checked.
func (f *farm) bytes(description cache.Digest) []byte {
	f.t.Helper()
	a, err := stepio.GetArtifact(context.Background(), f.blobs, description)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := artifact.Open(context.Background(), f.blobs, a)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		f.t.Fatal(err)
	}
	if int64(b.Len()) != a.Size || !a.Digest.IsZero() && cache.SumBytes(b.Bytes()) != a.Digest {
		f.t.Errorf("%d bytes %s, the description says %d %s", b.Len(), cache.SumBytes(b.Bytes()), a.Size, a.Digest)
	}
	return b.Bytes()
}

// item is an entry of a layer.
type item struct {
	tar.Header
	body string
}

func dir(name string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}
func file(name, body string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body: body}
}
func hard(name, to string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}}
}
func soft(name, to string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
}

// layer tars items.
func layer(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.Header
		h.Size = int64(len(i.body))
		if h.ModTime.IsZero() && h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = epoch
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipText(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// tree flattens an image of one layer.
func (f *farm) tree(items ...item) cache.Digest {
	f.t.Helper()
	return f.flatten(layer(f.t, items...))
}

// flatten flattens layers, bottom first.
func (f *farm) flatten(layers ...[]byte) cache.Digest {
	f.t.Helper()
	var digests []cache.Digest
	for _, l := range layers {
		digests = append(digests, f.put(l))
	}
	return f.run(step.Flatten, step.FlattenParams{}, inputs("layer", digests...)...)
}

// segment is the tar bytes of a part.
func (f *farm) segment(params step.SegmentParams, trees ...step.Input) []byte {
	f.t.Helper()
	return f.bytes(f.run(step.Segment, params, trees...))
}

func one(d cache.Digest) step.Input { return step.Input{Name: "tree", Digest: d} }
