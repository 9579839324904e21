package flattest

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Thing is a file, directory or link as it is on a disk.
type Thing struct {
	Kind byte
	Mode int64 // of directories
	Body string
	To   string // of a symbolic link
	Same string // the first of its names; its own when it has one
}

func (x Thing) String() string {
	return fmt.Sprintf("%c %o %q ->%q same as %s", x.Kind, x.Mode, x.Body, x.To, x.Same)
}

// OnDisk is what is in a directory of the disk.
func OnDisk(t testing.TB, root string) map[string]Thing {
	t.Helper()
	out := map[string]Thing{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name, _ := filepath.Rel(root, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		x := Thing{Same: name}
		switch info.Mode().Type() {
		case os.ModeDir:
			x.Kind, x.Mode = tar.TypeDir, int64(st.Mode&0o7777)
		case os.ModeSymlink:
			x.Kind = tar.TypeSymlink
			x.To, _ = os.Readlink(p)
		case os.ModeNamedPipe:
			x.Kind = tar.TypeFifo
		default:
			x.Kind = tar.TypeReg
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			x.Body = string(b)
		}
		if x.Kind != tar.TypeDir && st.Nlink > 1 {
			if first, ok := inodes[st.Ino]; ok {
				x.Same = first
			} else {
				inodes[st.Ino] = name
			}
		}
		out[name] = x
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return FirstNames(out)
}

// FirstNames names the members of each group of hard links by the first of their names.
func FirstNames(things map[string]Thing) map[string]Thing {
	first := map[string]string{}
	for name, x := range things {
		if f, ok := first[x.Same]; !ok || name < f {
			first[x.Same] = name
		}
	}
	for name, x := range things {
		x.Same = first[x.Same]
		things[name] = x
	}
	return things
}

// Lines are the things in the order of their names, for comparison.
func Lines(things map[string]Thing) []string {
	var out []string
	for name, x := range things {
		out = append(out, name+": "+x.String())
	}
	slices.Sort(out)
	return out
}

// Short is Lines as a Case has it.
func Short(things map[string]Thing) []string {
	var out []string
	for _, line := range Lines(things) {
		name, _, _ := strings.Cut(line, ": ")
		x := things[name]
		switch x.Kind {
		case tar.TypeDir:
			name += "/"
		case tar.TypeSymlink:
			name += "->" + x.To
		default:
			name += "=" + x.Body
		}
		if x.Same != strings.TrimSuffix(name, "/") && x.Same != strings.SplitN(name, "=", 2)[0] && x.Same != strings.SplitN(name, "->", 2)[0] {
			name += " same as " + x.Same
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
