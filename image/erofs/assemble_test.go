package erofs

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

// assembled is an image of parts that it can hold.
func assembled(t testing.TB, s *fstreetest.Store, parts ...fstree.Part) (*extents.List, *fstree.Node) {
	t.Helper()
	root := s.Build(fstree.Options{}, parts...)
	list, err := Assemble(t.Context(), s.Blobs, root, Options{Warn: func(line string) { t.Error(line) }})
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
		fstreetest.Tool(t, "fsck.erofs", "--extract="+dir, image)
		of := fstreetest.Aspects{NoXattrs: true, NoLinks: true, NoSetID: true, Nanoseconds: true} // which fsck.erofs 1.5 does not unpack
		fstreetest.Compare(t, fstreetest.OfDir(t, dir, of), s.OfTree(root, of))
	})
	t.Run("mounted", func(t *testing.T) {
		dir := fstreetest.Mount(t, "erofs", image)
		of := fstreetest.Aspects{DirLinks: true, Nanoseconds: true}
		fstreetest.Compare(t, fstreetest.OfDir(t, dir, of), s.OfTree(root, of))
	})
}

func TestAwkwardTree(t *testing.T) {
	s := fstreetest.New(t)
	lower, upper := fstreetest.Awkward(blockSize, fstreetest.Limits{LastTime: 1 << 33, ACLs: true, HugeXattrs: true})
	list, root := assembled(t, s, s.Part(lower...), s.Part(upper...))
	check(t, s, s.Image(list), root)
}

func TestSmallTrees(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []fstreetest.Item
	}{
		{"an empty root", []fstreetest.Item{fstreetest.Dir(".")}},
		{"an empty file", []fstreetest.Item{fstreetest.File("a", "")}},
		{"one directory", []fstreetest.Item{fstreetest.Dir("a")}},
		{"one file in its inode's block", []fstreetest.Item{fstreetest.File("a", "1")}},
		{"one file in a block", []fstreetest.Item{fstreetest.File("a", strings.Repeat("1", blockSize))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fstreetest.New(t)
			list, root := assembled(t, s, s.Part(c.items...))
			check(t, s, s.Image(list), root)
		})
	}
}

func TestContentsStayWhereTheyAre(t *testing.T) {
	s := fstreetest.New(t)
	blob, _ := s.Put(strings.NewReader(strings.Repeat("0123456789", 20000)))
	file := func(name string, offset, size int64) fstreetest.Item {
		f := fstreetest.File(name, "")
		f.Body.Blob, f.Body.Offset, f.Body.Size = blob, offset, size
		return f
	}
	list, root := assembled(t, s, s.Part(file("a", 5, 100000), file("b", 5, 100000), file("c", 5, 8192), file("d", 7, 8192)))
	check(t, s, s.Image(list), root)
	var got []artifact.Extent
	for _, e := range list.Runs() {
		if e.Blob == blob {
			got = append(got, e)
		}
	}
	want := []artifact.Extent{
		{Blob: blob, Offset: 5, Length: 100000 / blockSize * blockSize}, // of a and b
		{Blob: blob, Offset: 5, Length: 8192}, {Blob: blob, Offset: 7, Length: 8192},
	}
	if !slices.EqualFunc(got, want, func(a, b artifact.Extent) bool {
		return a.Blob == b.Blob && a.Offset == b.Offset && a.Length == b.Length
	}) {
		t.Errorf("extents %v, want %v", got, want)
	}
}

func TestImagesAreTheSameAgain(t *testing.T) {
	s := fstreetest.New(t)
	lower, upper := fstreetest.Awkward(blockSize, fstreetest.Limits{})
	read := func(parts ...fstree.Part) []byte {
		list, _ := assembled(t, s, parts...)
		var b bytes.Buffer
		s.Copy(&b, list.Artifact())
		return b.Bytes()
	}
	want := read(s.Part(lower...), s.Part(upper...))
	if !bytes.Equal(read(s.Part(lower...), s.Part(upper...)), want) {
		t.Error("the second image differs")
	}
	uuid := func(image []byte) []byte { return image[superOffset+48:][:16] }
	other := read(s.Part(lower...), s.Part(append(upper, fstreetest.File("more", "1"))...))
	if bytes.Equal(uuid(other), uuid(want)) {
		t.Errorf("two images have UUID %x", uuid(want))
	}
	if u := uuid(want); u[6]>>4 != 8 || u[8]>>6 != 2 {
		t.Errorf("UUID %x is not of version 8", u)
	}
}

func TestWhatTheFormatCannotHoldIsTold(t *testing.T) {
	s := fstreetest.New(t)
	f := fstreetest.File("a", "1")
	f.PAX = map[string]string{"SCHILY.xattr.btrfs.compression": "x", "SCHILY.xattr.user.a": strings.Repeat("x", 1<<16), "SCHILY.xattr.user.b": "x"}
	g := f
	g.Name = "b"
	var got []string
	list, err := Assemble(t.Context(), s.Blobs, s.Build(fstree.Options{}, s.Part(f, g)), Options{Warn: func(line string) { got = append(got, line) }})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"warning: erofs cannot hold the extended attribute btrfs.compression; it is left out",
		"warning: erofs cannot hold the extended attribute user.a; it is left out",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	fstreetest.Tool(t, "fsck.erofs", s.Image(list))
}

func TestGapsAreFilled(t *testing.T) {
	s := slots{blocks: 1}
	for _, c := range []struct {
		bytes int
		want  uint64 // in slots
	}{
		{32, 128}, {4000, 129}, {64, 254}, {96, 256}, {4096, 384}, {4097, 512}, {3000, 259}, {10000, 768}, {4032, 641},
	} {
		if got := s.take(c.bytes); got != c.want {
			t.Errorf("%d bytes go to slot %d, want %d", c.bytes, got, c.want)
		}
	}
}
