package squashfs

import (
	"context"
	"path/filepath"
	"testing"

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
