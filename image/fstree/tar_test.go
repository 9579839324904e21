package fstree_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

// TestSameAsTar unpacks what random parts say with tar, too.
func TestSameAsTar(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can unpack owners and devices")
	}
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("there is no tar here to compare with")
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := fstreetest.New(t)
			random := rand.New(rand.NewPCG(seed, 1))
			var parts []fstree.Part
			var all items
			for range 5 {
				in := fitting(t, s, random, parts)
				parts, all = append(parts, s.Part(in...)), append(all, in...)
			}
			root := t.TempDir()
			unpack(t, all, root)
			of := fstreetest.Aspects{Nanoseconds: true, NoDirTimes: true} // which tar spoils where it writes again
			want := fstreetest.OfDir(t, root, of)
			tree := s.Build(fstree.Options{}, parts...)
			got := s.OfTree(tree, of)
			fstree.Walk(tree, func(name string, n *fstree.Node) error {
				if n.Part < 0 && name == "." { // which tar leaves as it is
					delete(got, name)
					delete(want, name)
				}
				return nil
			})
			if len(got) < 10 {
				t.Errorf("only %d names are compared", len(got))
			}
			fstreetest.Compare(t, got, want)
		})
	}
}

// fitting are random entries that can be unpacked over the parts.
func fitting(t *testing.T, s *fstreetest.Store, random *rand.Rand, parts []fstree.Part) items {
	t.Helper()
	var in items
	for range 25 {
		try := append(in[:len(in):len(in)], randomItem(random))
		if _, err := fstree.Build(context.Background(), s.Blobs, append(parts[:len(parts):len(parts)], s.Part(try...)), fstree.Options{}); err == nil {
			in = try
		}
	}
	return in
}

func randomItem(random *rand.Rand) fstreetest.Item {
	name := func() string {
		var elements []string
		for range 1 + random.IntN(3) {
			elements = append(elements, string(rune('a'+random.IntN(4))))
		}
		return path.Join(elements...)
	}
	var i fstreetest.Item
	switch random.IntN(10) {
	case 0, 1, 2:
		i = dir(name())
	case 3:
		i = soft(name(), name())
	case 4, 5:
		if i = hard(name(), name()); strings.HasPrefix(i.Linkname, i.Name+"/") {
			i.Name = "elsewhere" // tar removes the name first, which may be a symbolic link that leads to the target
		}
	case 6:
		i.Name, i.Type, i.Devmajor, i.Devminor = name(), tar.TypeChar, 1, int64(random.IntN(9))
	case 7:
		i.Name, i.Type = name(), tar.TypeFifo
	default:
		i = file(name(), fmt.Sprint("contents ", random.Uint32()))
	}
	switch i.Mode = 0o700 | int64(random.IntN(0o7777)); i.Type {
	case tar.TypeSymlink:
		i.Mode = 0o777
	case tar.TypeDir:
		i.Mode &^= 0o2000 // which the directories that tar makes in it would have, too
	}
	i.UID, i.GID = random.IntN(3), random.IntN(70000)
	i.ModTime = fstreetest.Epoch.Add(time.Duration(random.Int64N(1e17)))
	return i
}

func unpack(t *testing.T, in items, dir string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range in {
		i.Body.Size = int64(len(i.Contents))
		if err := w.WriteHeader(i.Header(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(i.Contents)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tar", "-x", "-p", "--same-owner", "--numeric-owner", "-C", dir)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
}
