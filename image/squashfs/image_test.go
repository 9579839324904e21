package squashfs

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

var compressions = []Compression{Gzip, Zstd}

// image makes an image of parts and returns its file and tree.
func image(t testing.TB, s *fstreetest.Store, c Compression, of fstree.Options, parts ...fstree.Part) (string, *fstree.Node) {
	t.Helper()
	ctx := context.Background()
	var compressed []Compressed
	for _, p := range parts {
		out, err := Compress(ctx, s.Blobs, p, of, c)
		if err != nil {
			t.Fatal(err)
		}
		compressed = append(compressed, *out)
	}
	root := s.Build(of, parts...)
	list, err := Assemble(ctx, s.Blobs, root, compressed, Options{Compression: c, Warn: func(line string) { t.Error(line) }})
	if err != nil {
		t.Fatal(err)
	}
	return s.Image(list), root
}

// assembled is an image of parts with gzip.
func assembled(t *testing.T, s *fstreetest.Store, parts ...fstree.Part) (*extents.List, *fstree.Node) {
	t.Helper()
	root := s.Build(fstree.Options{}, parts...)
	list, err := Assemble(t.Context(), s.Blobs, root, compressed(t, s, parts...), Options{Compression: Gzip})
	if err != nil {
		t.Fatal(err)
	}
	return list, root
}

// check compares an image with its tree, unpacked and mounted.
func check(t *testing.T, s *fstreetest.Store, image string, root *fstree.Node) {
	t.Run("unpacked", func(t *testing.T) {
		fstreetest.Root(t)
		dir := filepath.Join(t.TempDir(), "root")
		fstreetest.Tool(t, "unsquashfs", "-no-progress", "-d", dir, image)
		fstreetest.Compare(t, fstreetest.OfDir(t, dir, fstreetest.Aspects{}), s.OfTree(root, fstreetest.Aspects{}))
	})
	t.Run("mounted", func(t *testing.T) {
		dir := fstreetest.Mount(t, "squashfs", image)
		of := fstreetest.Aspects{DirLinks: true}
		fstreetest.Compare(t, fstreetest.OfDir(t, dir, of), s.OfTree(root, of))
	})
}

func TestAwkwardTrees(t *testing.T) {
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			s := fstreetest.New(t)
			lower, upper := fstreetest.Awkward(blockSize, fstreetest.Limits{LastTime: 1<<32 - 1})
			file, root := image(t, s, c, fstree.Options{OmitBoot: true}, s.Part(lower...), s.Part(upper...))
			check(t, s, file, root)
		})
	}
}

func TestHugeXattrs(t *testing.T) {
	s := fstreetest.New(t)
	lower, _ := fstreetest.Awkward(blockSize, fstreetest.Limits{HugeXattrs: true})
	file, root := image(t, s, Zstd, fstree.Options{}, s.Part(lower...))
	dir := fstreetest.Mount(t, "squashfs", file)
	fstreetest.Compare(t, fstreetest.OfDir(t, dir, fstreetest.Aspects{}), s.OfTree(root, fstreetest.Aspects{}))
}

// programs are files of this machine as an image has them, as far as there are any.
func programs(t testing.TB) []fstreetest.Item {
	t.Helper()
	var out []fstreetest.Item
	total := 0
	names, _ := filepath.Glob("/usr/bin/*")
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > 16<<20 {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		out = append(out, fstreetest.File("usr/bin/"+filepath.Base(name), string(b)))
		if total += len(b); total > 64<<20 {
			break
		}
	}
	return out
}

// zeroReader reads as many zeros.
type zeroReader struct{ left int }

func (r *zeroReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, make([]byte, min(r.left, len(p))))
	r.left -= n
	return n, nil
}
