package iso9660

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/tree"
)

var (
	dir  = fstreetest.Dir
	file = fstreetest.File
	hard = fstreetest.Hard
	soft = fstreetest.Soft
)

// aspects are what an ISO keeps.
var aspects = fstreetest.Aspects{NoXattrs: true}

// write writes what a list says to a file of that name.
func write(t testing.TB, s *fstreetest.Store, l *extents.List, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.Copy(f, l.Artifact())
	return path
}

// tool skips the test when a program is not installed.
func tool(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("not tried: %s is not installed (Debian package %s)", name, debian)
	}
}

// run runs a program that must succeed and returns what it said.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// extract unpacks an ISO with xorriso, which must have nothing to complain about.
func extract(t testing.TB, iso string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	out := run(t, "xorriso", "-osirrox", "on:auto_chmod_on", "-hardlinks", "on", "-indev", iso, "-extract", "/", to)
	for line := range strings.Lines(out) {
		if strings.Contains(line, "WARNING") || strings.Contains(line, "SORRY") || strings.Contains(line, "FAILURE") {
			t.Errorf("xorriso: %s", line)
		}
	}
	return to
}

// asRoot skips the test for others than root, who may not make devices and files of others.
func asRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not tried: only root can unpack devices and files of other users")
	}
}

// special is a device or FIFO.
func special(name string, kind byte, major, minor int64) fstreetest.Item {
	return fstreetest.Item{Entry: tree.Entry{Name: name, Type: kind, Mode: 0o620, UID: 1, GID: 5, Devmajor: major, Devminor: minor}}
}

// everything is a tree with all that an ISO can hold.
func everything(s *fstreetest.Store) *fstree.Node {
	owned := file("etc/shadow", "secret")
	owned.Mode, owned.UID, owned.GID, owned.ModTime = 0o4640, 100000, 4200000000, time.Unix(-86400, 0)
	sticky := dir("tmp")
	sticky.Mode, sticky.ModTime = 0o1777, time.Date(2099, 12, 31, 23, 59, 58, 0, time.UTC)
	old := soft("bin", "usr/bin")
	old.UID, old.ModTime = 7, time.Unix(1, 0)
	items := []fstreetest.Item{
		dir("etc"), owned, sticky, old, dir("usr"), dir("usr/bin"), dir("empty"), dir("dev"),
		file("usr/bin/busybox", strings.Repeat("busybox", 5000)), hard("usr/bin/sh", "usr/bin/busybox"), hard("usr/bin/ls", "usr/bin/busybox"),
		file("etc/empty", ""), file("etc/one", "1"), file("etc/sector", strings.Repeat("s", Sector)),
		file("README", "r"), file("readme", "r"), file("Readme", "r"), file("readme.txt.gz", "r"), file("readme_txt.gz", "r"),
		file(".hidden", "h"), file("no.ext.", "n"), file("ünïcödé — 文件 🎉", "u"), file("bad\xff\xfeutf8", "b"), file("a*b?c:d;e\\f", "j"),
		file(strings.Repeat("n", 253), "long"), file(strings.Repeat("n", 252)+"o", "long"), dir(strings.Repeat("d", 250)),
		special("dev/null", tar.TypeChar, 1, 3), special("dev/sda", tar.TypeBlock, 8, 0), special("dev/console", tar.TypeChar, 5, 1),
		special("dev/fifo", tar.TypeFifo, 0, 0), special("dev/zero", tar.TypeChar, 0, 0),
	}
	for i, target := range []string{"/", "/etc", "../x", ".", "..", "a/./b/../c", "a//b", "a/", "/a/",
		strings.Repeat("l", 249), strings.Repeat("l", 255), strings.Repeat("m/", 200) + "x", "/" + strings.Repeat(strings.Repeat("p", 99)+"/", 10) + "end"} {
		items = append(items, soft(fmt.Sprintf("link%d", i), target))
	}
	deep := "deep"
	for i := range 30 {
		items = append(items, dir(deep), file(deep+"/file", fmt.Sprint(i)))
		deep += fmt.Sprintf("/level%d", i)
	}
	for i := range 300 {
		items = append(items, file(fmt.Sprintf("etc/a-long-name-that-is-cut-after-30-characters-%d.conf", i), fmt.Sprint(i)))
	}
	return s.Build(fstree.Options{}, s.Part(items...))
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// sparse writes a list to a file with holes: of blobs, of which it has one, only what is said to be at some offsets.
func sparse(t testing.TB, l *extents.List, marks map[int64]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iso")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	put := func(p []byte, at int64) {
		if _, err := f.WriteAt(p, at); err != nil {
			t.Fatal(err)
		}
	}
	var at int64
	for _, run := range l.Runs() {
		put(run.Inline, at)
		for off, text := range marks {
			if !run.Blob.IsZero() && off >= run.Offset && off < run.Offset+run.Length {
				put([]byte(text), at+off-run.Offset)
			}
		}
		at += run.Length
	}
	return path
}
