package conformance

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/image/linuxkit"
)

// TestPathsOfFilesAreLinuxKits builds what the table has in tar, and compares the initrd's tree with the tar's.
func TestPathsOfFilesAreLinuxKits(t *testing.T) {
	table, err := os.ReadFile("testdata/paths.txt")
	must(err)
	k := newKiln(t, lab())
	t.Chdir(t.TempDir())
	must(os.WriteFile("empty", nil, 0o600))
	must(os.WriteFile("file", []byte("a file\n"), 0o600))
	rows := 0
	for line := range strings.Lines(string(table)) {
		want, entries, ok := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if !ok || want == "#" {
			continue
		}
		rows++
		t.Run(entries, func(t *testing.T) {
			must(os.WriteFile("files.yml", []byte("files: ["+entries+"]\n"), 0o600))
			if want == "refused" {
				if _, err := linuxkit.Load(context.Background(), []string{"files.yml"}, linuxkit.Options{}); !errors.Is(err, linuxkit.ErrInput) {
					t.Errorf("got %v, want it refused", err)
				} else if leaves := strings.Contains(entries, ".."); leaves != strings.Contains(err.Error(), "leaves the root") {
					t.Errorf("got %v; only what leaves the root is to be told so", err)
				}
				return
			}
			b := k.build(t, k.load(t, "", "files.yml"), noSBOM([]string{"tar", "kernel+initrd"}, "linux/amd64"))
			if got := b.sum(t, "linux/amd64", ".tar"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			tree := untar(t, asReader(b.open(t, "linux/amd64", ".tar"))).lines()
			initrd := unpackInitrd(t, asReader(b.open(t, "linux/amd64", "-initrd.img")), "gzip").lines()
			if diff := cmp.Diff(tree, initrd); diff != "" {
				t.Errorf("tree of the tar (-) and of the initrd (+):\n%s", diff)
			}
		})
	}
	if rows < 50 {
		t.Errorf("the table has %d rows", rows)
	}
}
