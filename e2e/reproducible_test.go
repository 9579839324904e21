package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// everything is all formats, in builds whose files have names of their own.
var everything = map[string][]string{
	"amd64": {
		"tar,docker,kernel+initrd,tar-kernel-initrd,kernel+squashfs,kernel+erofs,iso-bios,iso-efi,iso-efi-initrd,raw-bios,raw-efi,raw-efi-verity,qcow2-bios,qcow2-efi,aws,gcp,vhd,vmdk,uki,ipxe,oci",
		"kernel+iso,dynamic-vhd",
	},
	"arm64": {"tar,kernel+initrd,iso-efi,iso-efi-initrd,raw-efi,raw-efi-verity,qcow2-efi,uki,oci", "rpi3"},
}

// TestFormatsAreReproducible builds every format on two machines as far as one can tell: another cache, number of
// processors, host name, time zone and time.
func TestFormatsAreReproducible(t *testing.T) {
	w := prepared(t)
	here := w.sums(t, "env", "GOMAXPROCS=8")
	other := &world{root: w.root, kiln: w.kiln, cache: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), imagesLimit)
	defer cancel()
	if _, err := other.run(ctx, filepath.Join(w.root, "examples/images/build.sh"), "amd64", "arm64"); err != nil {
		t.Fatal(err)
	}
	as := []string{"env", "GOMAXPROCS=1", "TZ=Asia/Tokyo", "HOSTNAME=elsewhere", "SOURCE_DATE_EPOCH=1"}
	if exec.Command("unshare", "--uts", "true").Run() == nil {
		as = append([]string{"unshare", "--uts", "sh", "-c", `hostname elsewhere; exec "$@"`, "sh"}, as...)
	}
	there := other.sums(t, as...)
	if len(here) < 39 || len(here) != len(there) {
		t.Errorf("%d and %d files", len(here), len(there))
	}
	for name, sum := range here {
		if there[name] != sum {
			t.Errorf("%s is %s, and %s on the other machine", name, sum, there[name])
		}
	}
}

// sums builds everything as the words say, and gives the sum of each file.
func (w *world) sums(t *testing.T, as ...string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*buildLimit)
	defer cancel()
	for arch, builds := range everything {
		for n, formats := range builds {
			dir := t.TempDir()
			args := append(append([]string{}, as...), w.kiln, "build", "--cache", w.cache, "--progress", "plain", "--arch", arch, "--format", formats, "--dir", dir)
			args = append(append(args, loaders...), "examples/hello.yml")
			if _, err := w.run(ctx, args[0], args[1:]...); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(filepath.Join(dir, f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				sums[fmt.Sprintf("%s/%d/%s", arch, n, strings.TrimPrefix(f.Name(), "hello"))] = fmt.Sprintf("%x", sha256.Sum256(b))
			}
		}
	}
	return sums
}
