package squashfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/step"
)

// noise does not compress.
func noise(n int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return string(b)
}

func TestEqualContentsAreStoredOnce(t *testing.T) {
	s := fstreetest.New(t)
	small, large := noise(50000, 1), noise(3*blockSize+5, 2)
	first := s.Part(fstreetest.File("a/small", small), fstreetest.File("a/large", large), fstreetest.File("a/again", small))
	second := s.Part(fstreetest.File("b/other", noise(blockSize, 3)), fstreetest.File("b/small", small), fstreetest.File("b/large", large))
	list, root := assembled(t, s, first, second)
	if want := int64(len(small) + len(large) + blockSize + 2*devicePadding); list.Size() > want {
		t.Errorf("the image has %d bytes, want at most %d", list.Size(), want)
	}
	check(t, s, s.Image(list), root)
}

func TestReplacedFilesTakeNoRoom(t *testing.T) {
	s := fstreetest.New(t)
	first := s.Part(fstreetest.File("a", noise(2*blockSize, 1)), fstreetest.File("b", noise(blockSize, 2)), fstreetest.File("c", noise(900, 3)))
	second := s.Part(fstreetest.File("a", "new"), fstreetest.File("c", "new, too"))
	list, root := assembled(t, s, first, second)
	if want := int64(blockSize + 2*devicePadding); list.Size() > want {
		t.Errorf("the image has %d bytes, want at most %d", list.Size(), want)
	}
	check(t, s, s.Image(list), root)
}

func TestSmallTrees(t *testing.T) {
	for _, c := range []struct {
		name  string
		parts [][]fstreetest.Item
	}{
		{"no parts", nil},
		{"an empty root", [][]fstreetest.Item{{fstreetest.Dir(".")}}},
		{"an empty file", [][]fstreetest.Item{{fstreetest.File("a", "")}}},
		{"one directory", [][]fstreetest.Item{{fstreetest.Dir("a")}}},
		{"one file in a fragment", [][]fstreetest.Item{{fstreetest.File("a", "1")}}},
		{"one file in a block", [][]fstreetest.Item{{fstreetest.File("a", noise(blockSize, 1))}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fstreetest.New(t)
			var parts []fstree.Part
			for _, items := range c.parts {
				parts = append(parts, s.Part(items...))
			}
			list, root := assembled(t, s, parts...)
			if list.Size()%devicePadding != 0 {
				t.Errorf("%d bytes are no multiple of %d", list.Size(), devicePadding)
			}
			check(t, s, s.Image(list), root)
		})
	}
}

func TestImagesAreTheSameAgain(t *testing.T) {
	s := fstreetest.New(t)
	lower, upper := fstreetest.Awkward(blockSize, fstreetest.Limits{})
	var sums []cache.Digest
	for range 3 {
		list, _ := assembled(t, s, s.Part(lower...), s.Part(upper...))
		var b bytes.Buffer
		s.Copy(&b, list.Artifact())
		sums = append(sums, cache.SumBytes(b.Bytes()))
	}
	if sums[0] != sums[1] || sums[0] != sums[2] {
		t.Errorf("digests %v differ", sums)
	}
}

func TestWhatTheFormatCannotHoldIsTold(t *testing.T) {
	s := fstreetest.New(t)
	f := fstreetest.File("a", "1")
	f.PAX = map[string]string{"SCHILY.xattr.system.posix_acl_access": "x", "SCHILY.xattr.user.": "x"}
	g := f
	g.Name, g.ModTime = "b", fstreetest.Epoch.AddDate(200, 0, 0)
	p := s.Part(f, g)
	var got []string
	if _, err := Assemble(t.Context(), s.Blobs, s.Build(fstree.Options{}, p), compressed(t, s, p), Options{Gzip, func(line string) { got = append(got, line) }}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"warning: squashfs cannot hold the extended attribute user.; it is left out",
		"warning: squashfs cannot hold the extended attribute system.posix_acl_access; it is left out",
		"warning: some file's time is not between 1970 and 2106 and is moved there",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTooManyOwners(t *testing.T) {
	s := fstreetest.New(t)
	var items []fstreetest.Item
	for i := range maxIDs/2 + 1 {
		f := fstreetest.File(fmt.Sprint(i), "")
		f.UID, f.GID = 2*i+1, 2*i+2
		items = append(items, f)
	}
	p := s.Part(items...)
	_, err := Assemble(t.Context(), s.Blobs, s.Build(fstree.Options{}, p), compressed(t, s, p), Options{Compression: Gzip})
	want := "the image has files of 65537 users and groups, but squashfs takes 65535; choose another format or give files fewer owners"
	var failure *step.Failure
	if !errors.As(err, &failure) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPartsThatAreNotOfTheTree(t *testing.T) {
	s := fstreetest.New(t)
	p := s.Part(fstreetest.File("a", "1"), fstreetest.File("b", noise(blockSize, 1)))
	root := s.Build(fstree.Options{}, p)
	other := compressed(t, s, s.Part(fstreetest.File("a", "1"), fstreetest.File("b", "2")))
	zstded, err := Compress(t.Context(), s.Blobs, p, fstree.Options{}, Zstd)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		parts []Compressed
		want  string
	}{
		{"none", nil, "a: it is of part 0, but there are 0 compressed parts"},
		{"one with fewer files", compressed(t, s, s.Part(fstreetest.File("a", "1"))), "b: compressed part 0 has no file for entry 1"},
		{"one with other files", other, "b: compressed part 0 has 0 blocks for entry 1, which has 131072 bytes"},
		{"one of another compression", []Compressed{*zstded}, "it was compressed otherwise than with gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Assemble(t.Context(), s.Blobs, root, c.parts, Options{Compression: Gzip})
			if err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func compressed(t *testing.T, s *fstreetest.Store, parts ...fstree.Part) []Compressed {
	t.Helper()
	var out []Compressed
	for _, p := range parts {
		c, err := Compress(context.Background(), s.Blobs, p, fstree.Options{}, Gzip)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *c)
	}
	return out
}

// FuzzTable: no table makes its reader stumble.
func FuzzTable(f *testing.F) {
	var b bytes.Buffer
	w := newTableWriter(&b, Gzip)
	w.file(&file{entry: 3, start: 0, blocks: []uint32{0, 1000, blockSize | uncompressedBlock}})
	w.file(&file{entry: 70, fragment: 0, offset: 12})
	w.fragment(fragment{start: 5, size: 100})
	w.close()
	f.Add(b.Bytes())
	for n := range b.Len() {
		if _, err := decodeTable(bufio.NewReader(bytes.NewReader(b.Bytes()[:n])), Gzip); !errors.Is(err, errTable) {
			f.Fatalf("the first %d of %d bytes: error %v", n, b.Len(), err)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeTable(bufio.NewReader(bytes.NewReader(b)), Gzip)
	})
}
