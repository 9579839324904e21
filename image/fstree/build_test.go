package fstree_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
)

var (
	dir  = fstreetest.Dir
	file = fstreetest.File
	hard = fstreetest.Hard
	soft = fstreetest.Soft
)

// names lists a tree: "etc/", "bin/sh=BusyBox" for a file with its contents, "a->b" for a link.
func names(t testing.TB, s *fstreetest.Store, root *fstree.Node) []string {
	t.Helper()
	var out []string
	err := fstree.Walk(root, func(path string, n *fstree.Node) error {
		switch n.Type {
		case tar.TypeDir:
			path += "/"
		case tar.TypeSymlink:
			path += "->" + n.Linkname
		case tar.TypeReg:
			path += fmt.Sprintf("=%s*%d", s.Text(n.Body), n.Links)
		}
		out = append(out, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out[1:]
}

type items = []fstreetest.Item

func TestPartsLieOneOverTheOther(t *testing.T) {
	for _, c := range []struct {
		name    string
		parts   []items
		options fstree.Options
		want    []string
	}{
		{"a later file wins", []items{{file("a", "1")}, {file("a", "2")}}, fstree.Options{}, []string{"a=2*1"}},
		{"also in one part", []items{{file("a", "1"), file("./a", "2")}}, fstree.Options{}, []string{"a=2*1"}},
		{"a directory keeps what is in it", []items{{dir("d/"), file("d/a", "1")}, {dir("./d"), file("d/b", "2")}}, fstree.Options{},
			[]string{"d/", "d/a=1*1", "d/b=2*1"}},
		{"a link takes the place of an empty directory", []items{{dir("d")}, {soft("d", "e")}}, fstree.Options{}, []string{"d->e"}},
		{"a directory takes the place of a link", []items{{dir("e"), soft("d", "e")}, {dir("d"), file("d/a", "1")}}, fstree.Options{},
			[]string{"d/", "d/a=1*1", "e/"}},
		{"missing parents are made", []items{{file("a/b/c", "1")}}, fstree.Options{}, []string{"a/", "a/b/", "a/b/c=1*1"}},
		{"hard links are one file", []items{{file("a", "1"), hard("b", "./a"), hard("d/c", "b")}}, fstree.Options{},
			[]string{"a=1*3", "b=1*3", "d/", "d/c=1*3"}},
		{"a link may come before its file", []items{{hard("b", "a"), hard("c", "b"), file("a", "1")}}, fstree.Options{},
			[]string{"a=1*3", "b=1*3", "c=1*3"}},
		{"a link to what comes through a symbolic link", []items{{hard("b", "s/a"), soft("s", "d"), file("d/a", "1")}}, fstree.Options{},
			[]string{"b=1*2", "d/", "d/a=1*2", "s->d"}},
		{"a link that is replaced before its file comes", []items{{hard("b", "a"), file("b", "2"), file("a", "1")}}, fstree.Options{},
			[]string{"a=1*1", "b=2*1"}},
		{"a replaced name leaves the others", []items{{file("a", "1"), hard("b", "a")}, {file("a", "2")}}, fstree.Options{},
			[]string{"a=2*1", "b=1*1"}},
		{"a link to itself changes nothing", []items{{file("a", "1"), hard("a", "a")}}, fstree.Options{}, []string{"a=1*1"}},
		{"names below a symbolic link go where it leads", []items{{dir("usr/lib"), soft("lib", "usr/lib")}, {file("lib/a", "1")}}, fstree.Options{},
			[]string{"lib->usr/lib", "usr/", "usr/lib/", "usr/lib/a=1*1"}},
		{"and never out of the tree", []items{{dir("w"), dir("y"), soft("x", "../../../y"), soft("z", "/y/../../w")}, {file("x/a", "1"), file("z/a", "2")}}, fstree.Options{},
			[]string{"w/", "w/a=2*1", "x->../../../y", "y/", "y/a=1*1", "z->/y/../../w"}},
		{"boot stays", []items{{dir("boot"), file("boot/kernel", "k")}}, fstree.Options{}, []string{"boot/", "boot/kernel=k*1"}},
		{"boot is left empty", []items{{dir("boot"), file("boot/kernel", "k"), file("bootx", "1")}, {file("./boot/d/e", "1")}}, fstree.Options{OmitBoot: true},
			[]string{"boot/", "bootx=1*1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fstreetest.New(t)
			var parts []fstree.Part
			for _, p := range c.parts {
				parts = append(parts, s.Part(p...))
			}
			if got := names(t, s, s.Build(c.options, parts...)); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestWhatCannotBeUnpackedIsTold(t *testing.T) {
	long := strings.Repeat("n", 256)
	owner := file("a", "1")
	owner.UID = -1
	device := fstreetest.Item{}
	device.Name, device.Type, device.Devmajor = "d", tar.TypeChar, 4096
	deep := items{}
	for i := range 10 {
		up := ""
		if i > 0 {
			up = fmt.Sprintf("s%d/", i-1)
		}
		deep = append(deep, dir(up+strings.Repeat("a/", 500)), soft(fmt.Sprint("s", i), up+strings.Repeat("a/", 500)))
	}
	for _, c := range []struct {
		name string
		in   items
		want string
	}{
		{"a file over a full directory", items{file("d/a", "1"), file("d", "2")},
			"web: d is no directory, but what comes before has a directory of that name with files in it; rename one of them"},
		{"a name below a file", items{file("d", "1"), file("d/a/b", "2")},
			"web: d/a must be a directory for what is in it, but d in it is a file; rename one of them"},
		{"a name below a symbolic link to nothing", items{dir("a"), soft("d", "a/b/c"), file("d/e", "1")},
			"web: d must be a directory for what is in it, but leads to b, which is not there; add that directory"},
		{"symbolic links in a circle", items{soft("a", "b"), soft("b", "a"), file("a/c", "1")},
			"web: a must be a directory for what is in it, but a in it is a symbolic link that leads to itself; rename one of them"},
		{"a hard link to nothing", items{hard("a", "b")},
			"web: the hard link a leads to b, which is no file in the image; add that file or make it a file of its own"},
		{"a hard link to itself alone", items{hard("a", "a")},
			"web: the hard link a leads to a, which is no file in the image; add that file or make it a file of its own"},
		{"a hard link to a directory", items{hard("a", "b"), dir("b")},
			"web: the hard link a leads to b, which is no file in the image; add that file or make it a file of its own"},
		{"a root that is a file", items{file(".", "1")}, "web: the root directory is not a directory there; remove that entry"},
		{"a hard link out of the tree", items{hard("a", "../b")}, `web: entry "../b" is outside of the image; remove it`},
		{"a name that is too long", items{file(long, "1")},
			`web: entry "` + long[:64] + `"... has a name with a part of 256 bytes, but Linux takes 255; shorten it`},
		{"no owner", items{owner}, "web: a belongs to -1:0, but users and groups are numbers from 0 to 4294967295; give it another owner"},
		{"no device of Linux", items{device}, "web: d is device 4096:0, but Linux has devices from 0:0 to 4095:1048575; correct its numbers"},
		{"a symbolic link to nothing", items{soft("a", "")},
			"web: the symbolic link a leads to a name of 0 bytes, but such names have 1 to 4095 and no NUL; correct it"},
		{"directories without end", deep, "a in it is too deep; rename one of them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fstreetest.New(t)
			p := s.Part(c.in...)
			p.Label = "web"
			_, err := fstree.Build(context.Background(), s.Blobs, []fstree.Part{p}, fstree.Options{})
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func TestNodesKeepEverythingButNames(t *testing.T) {
	s := fstreetest.New(t)
	f := file("d/f", "contents")
	f.Mode, f.UID, f.GID, f.ModTime = 0o104755, 70000, 1<<32-1, time.Unix(5, 7).In(time.FixedZone("far", 3600))
	f.PAX = map[string]string{"SCHILY.xattr.user.b": "\x00", "SCHILY.xattr.security.capability": "c", "mtime": "5"}
	null := fstreetest.Item{}
	null.Name, null.Type, null.Mode, null.Devmajor, null.Devminor = "d/null", tar.TypeChar, 0o666, 1, 3
	first, second := s.Part(dir("x"), f), s.Part(null)
	root := s.Build(fstree.Options{}, first, second)
	got := root.Child("d").Child("f")
	if got.Mode != 0o4755 || got.UID != 70000 || got.GID != 1<<32-1 || !got.ModTime.Equal(time.Unix(5, 7)) || got.ModTime.Location() != time.UTC {
		t.Errorf("file %+v", got)
	}
	if want := []fstree.Xattr{{Name: "security.capability", Value: "c"}, {Name: "user.b", Value: "\x00"}}; !slices.Equal(got.Xattrs, want) {
		t.Errorf("xattrs %q, want %q", got.Xattrs, want)
	}
	if got.Part != 0 || got.Entry != 1 || s.Text(got.Body) != "contents" {
		t.Errorf("file of part %d, entry %d, contents %q", got.Part, got.Entry, s.Text(got.Body))
	}
	if n := root.Child("d").Child("null"); n.Major != 1 || n.Minor != 3 || n.Part != 1 || n.Entry != 0 {
		t.Errorf("device %+v", n)
	}
	if n := root.Child("d"); n.Part != -1 || n.Mode != 0o755 || !n.ModTime.Equal(part.DefaultTime) || n.Links != 2 {
		t.Errorf("directory %+v", n)
	}
	if root.Links != 4 || root.Child("nothing") != nil {
		t.Errorf("root %+v", root)
	}
}

func TestLargeDirectories(t *testing.T) {
	s := fstreetest.New(t)
	var in items
	for i := range 5000 {
		in = append(in, file(fmt.Sprintf("d/%d", i*7919%5000), "old"))
	}
	in = append(in, dir("d"))
	for i := range 5000 {
		in = append(in, file(fmt.Sprintf("d/%d", i), "new"))
	}
	d := s.Build(fstree.Options{}, s.Part(in...)).Child("d")
	if len(d.Children) != 5000 {
		t.Errorf("%d children, want 5000", len(d.Children))
	}
	for i, c := range d.Children {
		if i > 0 && d.Children[i-1].Name >= c.Name {
			t.Fatalf("%s comes before %s", d.Children[i-1].Name, c.Name)
		}
		if s.Text(c.Node.Body) != "new" {
			t.Fatalf("%s is the old one", c.Name)
		}
	}
}
