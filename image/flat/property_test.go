package flat

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/continuity/fs"
	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/image/flat/flattest"
	"github.com/kiln-farm/kiln/image/step"
)

// stack makes layers that get in each other's way: few names, all types, names that lead through links, duplicates,
// whiteouts, absolute names, parents without entries. Whiteouts come first in their layer, as the specification says
// they should: containerd takes them as they come.
func stack(r *rand.Rand) [][]flattest.Item {
	names := []string{"a", "b", "c", "d", "e", "f"}
	name := func() string {
		n := ""
		for r.IntN(5) < 2 && len(n) < 8 {
			n += names[r.IntN(2)] + "/" // what is a directory most of the time
		}
		if r.IntN(12) == 0 {
			return n + names[r.IntN(2)]
		}
		return n + names[2+r.IntN(4)]
	}
	var files []string // that hard links can lead to, most of the time
	spelled := func() string {
		switch n := name(); r.IntN(6) {
		case 0:
			return "/" + n
		case 1:
			return "./" + n
		default:
			return n
		}
	}
	target := func() string {
		switch r.IntN(5) {
		case 0:
			return "/" + name()
		case 1:
			return "../" + name()
		case 2:
			return "../../.."
		default:
			return name()
		}
	}
	var layers [][]flattest.Item
	for range 1 + r.IntN(4) {
		var hiding, items []flattest.Item
		for range r.IntN(3) {
			n := spelled()
			switch r.IntN(3) {
			case 0:
				hiding = append(hiding, flattest.File(n+"/.wh..wh..opq", ""))
			default:
				hiding = append(hiding, flattest.File(path.Dir(n)+"/.wh."+path.Base(n), ""))
			}
		}
		for range 1 + r.IntN(8) {
			n := spelled()
			switch r.IntN(9) {
			case 0, 1:
				if r.IntN(2) == 0 {
					n = []string{"a", "b", "a/b", "b/a", "/a", "./b"}[r.IntN(6)]
				}
				d := flattest.Dir(n)
				d.Mode = []int64{0o755, 0o700, 0o1777}[r.IntN(3)]
				items = append(items, d)
			case 2:
				if r.IntN(6) == 0 {
					n = path.Dir(clean(n))
				}
				if n != "." {
					items = append(items, flattest.Soft(n, target()))
				}
			case 3, 4:
				to := spelled()
				if len(files) > 0 && r.IntN(8) > 0 {
					to = files[r.IntN(len(files))]
				}
				items = append(items, flattest.Hard(n, to))
				files = append(files, n)
			case 5:
				items = append(items, flattest.Item{Header: tar.Header{Name: n, Typeflag: tar.TypeFifo, Mode: 0o644}})
			default:
				items = append(items, flattest.File(n, fmt.Sprint(r.IntN(1000))))
				files = append(files, n)
			}
		}
		layers = append(layers, append(hiding, items...))
	}
	return layers
}

// applied unpacks the layers with containerd's archive package.
func applied(t testing.TB, root string, layers [][]byte) error {
	for _, b := range layers {
		_, err := archive.Apply(context.Background(), root, bytes.NewReader(b), archive.WithNoSameOwner(), archive.WithFilter(func(h *tar.Header) (bool, error) {
			if !strings.HasPrefix(path.Base(h.Name), whiteoutPrefix) {
				return true, nil
			}
			// Containerd makes the directory of a whiteout when it is not there, the specification and Kiln do not.
			parent, err := fs.RootPath(root, path.Dir(h.Name))
			if err != nil {
				return false, err
			}
			info, err := os.Stat(parent)
			return err == nil && info.IsDir(), nil
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAnyStackUnpacksAsContainerdDoes: where containerd can unpack a stack of layers, Kiln's tree is the same.
func TestAnyStackUnpacksAsContainerdDoes(t *testing.T) {
	seed, rounds := uint64(1), 300
	if s := os.Getenv("KILN_FLAT_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	if n, err := strconv.Atoi(os.Getenv("KILN_FLAT_ROUNDS")); err == nil {
		rounds = n
	}
	root, compared := t.TempDir(), 0
	for n := range rounds {
		layers := stack(rand.New(rand.NewPCG(seed, uint64(n))))
		if asContainerd(t, filepath.Join(root, fmt.Sprint(n)), layers) {
			compared++
		}
		if t.Failed() {
			var text strings.Builder
			for i, l := range layers {
				fmt.Fprintf(&text, "layer %d:\n", i)
				for _, e := range l {
					fmt.Fprintf(&text, "  %v\n", e)
				}
			}
			t.Fatalf("round %d of seed %d (KILN_FLAT_SEED):\n%s", n, seed, &text)
		}
	}
	t.Logf("%d of %d stacks compared", compared, rounds)
	if compared < rounds/5 {
		t.Errorf("containerd unpacked %d of %d stacks only: the test has little to say", compared, rounds)
	}
}

func asContainerd(t *testing.T, root string, layers [][]flattest.Item) bool {
	t.Helper()
	var packed [][]byte
	for _, l := range layers {
		packed = append(packed, flattest.Pack(t, l))
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	containerd := applied(t, root, packed)
	dir := newDir(t)
	entries, err := flattened(t, dir, packed...)
	var failure *step.Failure
	if err != nil && !errors.As(err, &failure) {
		t.Errorf("not the layers' fault: %v", err)
		return false
	}
	if containerd != nil {
		return false
	}
	if err != nil {
		t.Errorf("refused: %v; containerd takes it", err)
		return false
	}
	if diff := cmp.Diff(flattest.Lines(flattest.OnDisk(t, root)), flattest.Lines(unpacked(t, dir, entries))); diff != "" {
		t.Errorf("-containerd +Kiln:\n%s", diff)
	}
	return true
}

// TestWhiteoutsHideLowerLayersWhereverTheyStand: the order of whiteouts and entries in a layer says nothing, as long as no
// symbolic link changes what a name means meanwhile.
func TestWhiteoutsHideLowerLayersWhereverTheyStand(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for n := range 300 {
		layers := stack(r)
		var first, mixed [][]byte
		for _, l := range layers {
			var kept []flattest.Item
			for _, i := range l {
				if i.Typeflag != tar.TypeSymlink && i.Typeflag != tar.TypeLink {
					kept = append(kept, i)
				}
			}
			first = append(first, flattest.Pack(t, kept))
			others := kept[:0:0]
			var hiding []flattest.Item
			for _, i := range kept {
				if strings.HasPrefix(path.Base(i.Name), whiteoutPrefix) {
					hiding = append(hiding, i)
				} else {
					others = append(others, i)
				}
			}
			for _, i := range hiding {
				at := r.IntN(len(others) + 1)
				others = append(others[:at:at], append([]flattest.Item{i}, others[at:]...)...)
			}
			mixed = append(mixed, flattest.Pack(t, others))
		}
		dir := newDir(t)
		want, err := flattened(t, dir, first...)
		if err != nil {
			continue // a name below a file
		}
		got, err := flattened(t, dir, mixed...)
		if err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		// A directory that the whiteout left, since it had something of the same layer in it, keeps its mode.
		if diff := cmp.Diff(modeless(unpacked(t, dir, want)), modeless(unpacked(t, dir, got))); diff != "" {
			t.Fatalf("round %d: -whiteouts first +among the others:\n%s\n%v", n, diff, layers)
		}
	}
}

func modeless(things map[string]flattest.Thing) []string {
	for name, x := range things {
		x.Mode = 0
		things[name] = x
	}
	return flattest.Lines(things)
}

// FuzzStacks: the bytes are choices of the generator above.
func FuzzStacks(f *testing.F) {
	f.Add(uint64(1), uint64(1))
	f.Fuzz(func(t *testing.T, seed, stream uint64) {
		root := filepath.Join(t.TempDir(), "root")
		layers := stack(rand.New(rand.NewPCG(seed, stream)))
		asContainerd(t, root, layers)
		if t.Failed() {
			t.Log(layers)
		}
	})
}

// FuzzLayers: whatever two layers are, flattening them ends with a tree inside its root, or a sentence.
func FuzzLayers(f *testing.F) {
	f.Add(flattest.Pack(f, []flattest.Item{flattest.Dir("a"), flattest.File("a/b", "1"), flattest.Hard("c", "a/b"), flattest.Soft("l", "a")}), flattest.Pack(f, []flattest.Item{flattest.File("a/.wh.b", ""), flattest.File("l/x", "2")}))
	f.Add(flattest.Pack(f, []flattest.Item{flattest.File("a", "1")}), flattest.Pack(f, []flattest.Item{flattest.File(".wh..wh..opq", ""), flattest.Hard("b", "/a")}))
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		dir := newDir(t)
		entries, err := flattened(t, dir, lower, upper)
		var failure *step.Failure
		if err != nil && !errors.As(err, &failure) {
			t.Fatalf("not the layers' fault: %v", err)
		}
		if err == nil {
			unpacked(t, dir, entries)
		}
	})
}
