// Package fstreetest makes trees for tests of what writes filesystems, and compares what such a filesystem holds, once
// it is unpacked or mounted, with the tree it was made of.
//
// Nothing here is used outside of tests.
package fstreetest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Epoch is the time of entries that have none.
var Epoch = time.Unix(1622548800, 0).UTC()

// Store is a cache of a test's own.
type Store struct {
	t     testing.TB
	Blobs *Blobs
}

// Blobs is a directory of blobs, and sparse files that were too large to be hashed.
type Blobs struct {
	*disk.Store
	sparse map[cache.Digest]string // names of files
}

// Open opens a blob of either kind.
func (b *Blobs) Open(ctx context.Context, d cache.Digest) (*cache.File, error) {
	name, ok := b.sparse[d]
	if !ok {
		return b.Store.Open(ctx, d)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &cache.File{File: f, Digest: d, Size: info.Size()}, nil
}

// Sparse makes a blob of zeros but for what is said to be at some offsets. Its digest is not that of its bytes.
func (s *Store) Sparse(size int64, at map[int64]string) cache.Digest {
	s.t.Helper()
	f, err := os.Create(filepath.Join(s.t.TempDir(), "sparse"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		s.t.Fatal(err)
	}
	for off, contents := range at {
		if _, err := f.WriteAt([]byte(contents), off); err != nil {
			s.t.Fatal(err)
		}
	}
	d := cache.SumBytes([]byte(f.Name()))
	s.Blobs.sparse[d] = f.Name()
	return d
}

// New opens an empty Store.
func New(t testing.TB) *Store {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Store{t, &Blobs{dir, map[cache.Digest]string{}}}
}

// Item is an entry with its contents.
type Item struct {
	tree.Entry
	Contents string
}

// Dir, File, Hard and Soft are the usual entries.
func Dir(name string) Item {
	return Item{Entry: tree.Entry{Name: name, Type: tar.TypeDir, Mode: 0o755}}
}
func File(name, contents string) Item {
	return Item{Entry: tree.Entry{Name: name, Type: tar.TypeReg, Mode: 0o644}, Contents: contents}
}
func Hard(name, to string) Item {
	return Item{Entry: tree.Entry{Name: name, Type: tar.TypeLink, Linkname: to}}
}
func Soft(name, to string) Item {
	return Item{Entry: tree.Entry{Name: name, Type: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
}

// Put stores a blob.
func (s *Store) Put(r io.Reader) (cache.Digest, int64) {
	s.t.Helper()
	draft, err := s.Blobs.Create(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := io.Copy(draft, r); err != nil {
		s.t.Fatal(err)
	}
	d, size, err := draft.Commit()
	if err != nil {
		s.t.Fatal(err)
	}
	return d, size
}

// Part stores a tree of the items, whose contents go into one blob.
func (s *Store) Part(items ...Item) fstree.Part {
	s.t.Helper()
	var bodies, index bytes.Buffer
	for i := range items {
		if len(items[i].Contents) > 0 {
			items[i].Body = tree.Body{Offset: int64(bodies.Len()), Size: int64(len(items[i].Contents))}
			bodies.WriteString(items[i].Contents)
		}
	}
	blob, _ := s.Put(&bodies)
	w := tree.NewWriter(&index)
	for _, i := range items {
		if len(i.Contents) > 0 {
			i.Body.Blob = blob
		}
		if i.ModTime.IsZero() {
			i.ModTime = Epoch
		}
		if err := w.Append(&i.Entry); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	digest, _ := s.Put(&index)
	return fstree.Part{Root: step.Root{Rule: step.RulePlain}, Trees: []cache.Digest{digest}}
}

// Build is fstree.Build of parts that must go together.
func (s *Store) Build(options fstree.Options, parts ...fstree.Part) *fstree.Node {
	s.t.Helper()
	root, err := fstree.Build(context.Background(), s.Blobs, parts, options)
	if err != nil {
		s.t.Fatal(err)
	}
	return root
}

// Copy writes an artifact's bytes to w.
func (s *Store) Copy(w io.Writer, a *artifact.Artifact) {
	s.t.Helper()
	r, err := artifact.Open(context.Background(), s.Blobs, a)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.WriteTo(w); err != nil || n != a.Size {
		s.t.Fatalf("copied %d of %d bytes: %v", n, a.Size, err)
	}
}

// Text is what a body says.
func (s *Store) Text(b tree.Body) string {
	s.t.Helper()
	if b.Inline != nil || b.Size == 0 {
		return string(b.Inline)
	}
	var out bytes.Buffer
	s.Copy(&out, &artifact.Artifact{Size: b.Size, Extents: []artifact.Extent{{Blob: b.Blob, Offset: b.Offset, Length: b.Size}}})
	return out.String()
}
