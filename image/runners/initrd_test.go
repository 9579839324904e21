package runners

import (
	"bytes"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
)

var image = step.Root{Rule: step.RuleImage}

func at(prefix string) step.Root { return step.Root{Rule: step.RuleImage, Prefix: prefix} }

// initrd makes the parts, with what overlap says about those of the root directory, and joins them.
func (f *farm) initrd(compress string, roots []step.Root, trees []cache.Digest) []byte {
	f.t.Helper()
	overlaps, err := f.try(step.Overlap, step.OverlapParams{Roots: roots, Labels: make([]string, len(roots))}, inputs("tree", trees...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	var parts []cache.Digest
	for i := range roots {
		omit := step.Input{Name: "omit", Digest: overlaps.Outputs[i].Digest}
		parts = append(parts, f.run(step.InitrdPart, step.InitrdPartParams{Root: roots[i], Compress: compress}, one(trees[i]), omit))
	}
	return f.bytes(f.run(step.Artifact, step.ArtifactParams{Format: "initrd", Compress: compress}, inputs("part", parts...)...))
}

// tar joins the segments of the same.
func (f *farm) tar(roots []step.Root, trees []cache.Digest) []byte {
	f.t.Helper()
	var segments []cache.Digest
	for i := range roots {
		segments = append(segments, f.run(step.Segment, step.SegmentParams{Root: roots[i], Source: "s", Location: "l"}, one(trees[i])))
	}
	return f.bytes(f.run(step.Artifact, step.ArtifactParams{Format: "tar"}, inputs("segment", segments...)...))
}

// trees are images that meet in the root directory, or have what archives find hard.
var meetings = []struct {
	name   string
	roots  []step.Root
	images [][]item
}{
	{"everything that a header can hold", []step.Root{at("containers/services/a/lower/")}, [][]item{awkward()}},
	{"links before and after their file, and links to links", []step.Root{image},
		[][]item{{hard("z", "./m"), hard("y", "z"), file("m", "body"), hard("n", "m"), file("other", "other")}}},
	{"a hard link to a symbolic link", []step.Root{image}, [][]item{{soft("s", "t"), hard("s2", "s")}}},
	{"empty files with two names", []step.Root{image}, [][]item{{file("a", ""), hard("b", "a")}}},
	{"a link to a file that LinuxKit replaces and writes again", []step.Root{image},
		[][]item{{dir("etc"), file("etc/hosts", "mine"), hard("etc/hosts2", "etc/hosts")}}},
	{"no directories in the image", []step.Root{at("p/")}, [][]item{{file("usr/lib/x/y", "y"), soft("opt/z/w", "w")}}},
	{"equal inodes in two parts", []step.Root{at("p/"), at("q/")},
		[][]item{{file("a", "1"), hard("b", "a")}, {file("a", "2"), hard("b", "a")}}},
	{"the same image twice", []step.Root{image, image}, [][]item{{file("a", "1"), hard("b", "a")}, {file("a", "1"), hard("b", "a")}}},
	{"a later part writes one name of a linked file", []step.Root{image, image},
		[][]item{{dir("bin"), file("bin/busybox", "box"), hard("bin/sh", "bin/busybox"), hard("bin/ls", "bin/busybox")}, {dir("bin"), file("bin/sh", "bash")}}},
	{"a later part writes the name with the contents", []step.Root{image, image},
		[][]item{{file("a", "box"), hard("b", "a"), hard("c", "a")}, {file("a", "new")}}},
	{"a later part links what was linked otherwise", []step.Root{image, image, image},
		[][]item{{file("a", "1"), hard("b", "a")}, {file("c", "2"), hard("b", "c")}, {file("c", "3")}}},
	{"a file becomes a directory and a link a file", []step.Root{image, image},
		[][]item{{file("a", "1"), soft("l", "a")}, {dir("a"), file("a/x", "x"), file("l", "no link")}}},
	{"an empty directory becomes a link", []step.Root{image, image}, [][]item{{dir("lib")}, {dir("usr"), dir("usr/lib"), soft("lib", "usr/lib")}}},
}

func (f *farm) meeting(images [][]item) []cache.Digest {
	var out []cache.Digest
	for _, items := range images {
		out = append(out, f.tree(items...))
	}
	return out
}

func TestUnpackedInitrdIsTheTree(t *testing.T) {
	for _, compress := range []string{"gzip", "zstd"} {
		for _, c := range meetings {
			t.Run(c.name+", "+compress, func(t *testing.T) {
				f := newFarm(t)
				trees := f.meeting(c.images)
				want := untar(t, f.tar(c.roots, trees)).listing()
				got := boot(t, f.initrd(compress, c.roots, trees)).listing()
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("trees differ (-tar +initrd):\n%s", diff)
				}
			})
		}
	}
}

func TestUsersReadTheInitrdWithGunzipAndCpio(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("no cpio here")
	}
	f := newFarm(t)
	trees := f.meeting([][]item{{file("a", "box"), hard("b", "a")}, {file("a", "new"), dir("d")}})
	initrd := f.initrd("gzip", []step.Root{image, image}, trees)
	list := exec.Command("sh", "-c", "gunzip | cpio -t --quiet")
	list.Stdin = bytes.NewReader(initrd)
	out, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"b", "a", "d", "etc/hosts"} {
		if !strings.Contains("\n"+string(out), "\n"+name+"\n") {
			t.Errorf("cpio does not list %s:\n%s", name, out)
		}
	}
}

func TestNamesOfAFileAreCounted(t *testing.T) {
	f := newFarm(t)
	root := boot(t, f.initrd("gzip", []step.Root{image}, []cache.Digest{f.tree(hard("b", "a"), file("a", "x"), hard("c", "a"), file("alone", ""))}))
	for name, want := range map[string]int{"a": 3, "b": 3, "c": 3, "alone": 1, "dev": 2} {
		if got := root[name].names; got != want {
			t.Errorf("%s has %d names, want %d", name, got, want)
		}
	}
}

func TestOverlapRefusesWhatTheKernelWouldDrop(t *testing.T) {
	for _, c := range []struct {
		name   string
		images [][]item
		want   string
	}{
		{"a link over a directory with files", [][]item{{dir("lib"), file("lib/x", "")}, {soft("lib", "usr/lib")}},
			"init[1] makes lib a file or link, but in init[0] it is a directory with files in it; rename one of them"},
		{"a file in what was a file", [][]item{{file("lib", "")}, {file("lib/x", "")}},
			"init[1] has a file lib/x, but in init[0] lib is not a directory; rename one of them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			_, err := f.try(step.Overlap, step.OverlapParams{Roots: []step.Root{image, image}, Labels: []string{"init[0]", "init[1]"}}, inputs("tree", f.meeting(c.images)...)...)
			var failure *step.Failure
			if !errors.As(err, &failure) || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestPartsWithNothingInCommonLeaveNothingOut(t *testing.T) {
	f := newFarm(t)
	out, err := f.try(step.Overlap, step.OverlapParams{Roots: []step.Root{image, image}},
		inputs("tree", f.tree(file("a", "1"), hard("b", "a")), f.tree(file("c", "2")))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out.Outputs {
		if o.Size != 0 {
			t.Errorf("%s = %q, want nothing", o.Name, f.get(o.Digest))
		}
	}
}

func TestWarningsAreOneLineOfAKind(t *testing.T) {
	f := newFarm(t)
	capable := func(name string) item {
		i := file(name, "")
		i.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01"}
		return i
	}
	f.run(step.InitrdPart, step.InitrdPartParams{Root: image, Compress: "gzip"}, one(f.tree(capable("ping"), capable("ping6"), hard("lost", "gone"))))
	want := []string{
		"warning: ping has file capabilities, which an initrd cannot hold; give the container capabilities instead",
		"warning: hard link lost leads to gone, which is not there, and is left out",
	}
	if diff := cmp.Diff(want, f.lines); diff != "" {
		t.Errorf("log differs (-want +got):\n%s", diff)
	}
}

func TestPartsDoNotDependOnProcessors(t *testing.T) {
	f := newFarm(t)
	tree := f.tree(file("a", strings.Repeat("some text that compresses ", 100000)), file("b", "b"))
	for _, compress := range []string{"gzip", "zstd"} {
		params := step.InitrdPartParams{Root: at("p/"), Compress: compress}
		want := f.run(step.InitrdPart, params, one(tree))
		before := runtime.GOMAXPROCS(7)
		got := f.run(step.InitrdPart, params, one(tree))
		runtime.GOMAXPROCS(before)
		if got != want {
			t.Errorf("%s: %s with 7 processors, %s before", compress, got, want)
		}
	}
}
