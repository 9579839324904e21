package flat

import (
	"archive/tar"
	"context"
	"path"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/flat/flattest"
	"github.com/kiln-farm/kiln/image/tree"
)

// flattened unpacks layers with Flatten.
func flattened(t testing.TB, dir *disk.Store, layers ...[]byte) ([]tree.Entry, error) {
	t.Helper()
	var digests []cache.Digest
	for _, b := range layers {
		draft, err := dir.Create(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		draft.Write(b)
		d, _, err := draft.Commit()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	var out []tree.Entry
	_, _, err := Flatten(context.Background(), dir, digests, DefaultLimits, func(e *tree.Entry) error {
		out = append(out, *e)
		return nil
	})
	return out, err
}

// unpacked is what unpacking the entries of a tree gives. Every name may come once, and no entry below anything but a
// directory.
func unpacked(t testing.TB, dir *disk.Store, entries []tree.Entry) map[string]flattest.Thing {
	t.Helper()
	out := map[string]flattest.Thing{}
	links := map[string]string{}
	for _, e := range entries {
		if e.Type == tar.TypeXGlobalHeader {
			continue
		}
		if path.Clean(e.Name) != e.Name || path.IsAbs(e.Name) || strings.HasPrefix(e.Name, "..") {
			t.Errorf("an entry named %q", e.Name)
		}
		if _, twice := out[e.Name]; twice {
			t.Errorf("%q comes twice", e.Name)
		}
		x := flattest.Thing{Kind: e.Type, Same: e.Name}
		switch e.Type {
		case tar.TypeDir:
			x.Mode = e.Mode
		case tar.TypeSymlink:
			x.To = e.Linkname
		case tar.TypeLink:
			links[e.Name] = clean(e.Linkname)
		}
		if e.Body.Size > 0 {
			f, err := dir.Open(context.Background(), e.Body.Blob)
			if err != nil {
				t.Fatalf("the body of %s: %v", e.Name, err)
			}
			b := make([]byte, e.Body.Size)
			if _, err := f.ReadAt(b, e.Body.Offset); err != nil {
				t.Fatalf("the body of %s: %v", e.Name, err)
			}
			f.Close()
			x.Body = string(b)
		}
		out[e.Name] = x
	}
	for name, to := range links {
		for range 300 {
			next, more := links[to]
			if !more {
				break
			}
			to = next
		}
		target, ok := out[to]
		if !ok || target.Kind == tar.TypeLink {
			delete(out, name) // leads nowhere
			continue
		}
		x := target
		x.Same = to
		out[name] = x
	}
	for name := range out {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := out[dir]; !ok {
				out[dir] = flattest.Thing{Kind: tar.TypeDir, Mode: 0o755, Same: dir}
			}
			if kind := out[dir].Kind; kind != tar.TypeDir {
				t.Errorf("%s is below %s, which is of type %q", name, dir, kind)
			}
		}
	}
	delete(out, ".")
	return flattest.FirstNames(out)
}

func newDir(t testing.TB) *disk.Store {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func entryOf(name string, size int64) *tree.Entry {
	return &tree.Entry{Name: name, Type: tar.TypeReg, Body: tree.Body{Size: size}}
}
