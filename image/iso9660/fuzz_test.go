package iso9660

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/tree"
)

// Names, links, numbers and times that an ISO takes are read back as they were.
func FuzzEntries(f *testing.F) {
	f.Add("name", "NAME", "../target//x/", "volume", uint32(0o4755), uint32(1<<31), int64(1622548800), uint32(8), uint32(300))
	f.Add(strings.Repeat("n", 253), "ünïcödé.\xff", "/"+strings.Repeat("l", 600), "", uint32(0), uint32(0), int64(0), uint32(0), uint32(0))
	f.Add("a.b.c", "a_b.c", "/", "V", uint32(0), uint32(0), int64(-1), uint32(4095), uint32(255))
	f.Fuzz(func(t *testing.T, a, b, target, volume string, mode, owner uint32, seconds int64, major, minor uint32) {
		for _, name := range []string{a, b} {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				return
			}
		}
		if a == b || a == "kiln" || b == "kiln" || target == "" || len(target) > 4095 || major > 4095 || minor >= 1<<20 {
			return
		}
		at := time.Unix(seconds, 0).UTC()
		node := func(kind byte) *fstree.Node {
			return &fstree.Node{Type: kind, Mode: mode & 0o7777, UID: owner, GID: ^owner, ModTime: at}
		}
		link, device, file := node(tar.TypeSymlink), node(tar.TypeChar), node(tar.TypeReg)
		link.Linkname, device.Major, device.Minor = target, major, minor
		file.Body = tree.Body{Size: int64(len(target)), Inline: []byte(target)}
		dir, root := node(tar.TypeDir), node(tar.TypeDir)
		dir.Children = []fstree.Child{{Name: a, Node: link}, {Name: b, Node: device}}
		root.Children = []fstree.Child{{Name: a, Node: dir}, {Name: b, Node: file}}
		finish(root)
		l, err := Build(root, Options{VolumeID: volume, Files: []File{{"kiln/kernel", extents.Bytes([]byte(b))}}})
		if err != nil {
			return
		}
		var p bytes.Buffer
		s := fstreetest.New(t)
		s.Copy(&p, l.Artifact())
		read(t, p.Bytes(), true)
		if at.Before(firstTime) || at.After(lastTime) {
			return
		}
		got, want := read(t, p.Bytes(), false), root
		for i, c := range got.Children {
			if c.Name == "kiln" {
				got.Children = append(got.Children[:i:i], got.Children[i+1:]...)
				got.Links--
				break
			}
		}
		of := fstreetest.Aspects{}
		fstreetest.Compare(t, s.OfTree(got, of), s.OfTree(want, of))
	})
}
