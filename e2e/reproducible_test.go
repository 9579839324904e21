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
	"time"
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
	here := w.sums(t, 2*buildLimit, "env", "GOMAXPROCS=8")
	other := w.elsewhere(t)
	as := []string{"env", "GOMAXPROCS=1", "TZ=Asia/Tokyo", "HOSTNAME=elsewhere", "SOURCE_DATE_EPOCH=1"}
	if exec.Command("unshare", "--uts", "true").Run() == nil {
		as = append([]string{"unshare", "--uts", "sh", "-c", `hostname elsewhere; exec "$@"`, "sh"}, as...)
	}
	sameSums(t, here, other.sums(t, 2*buildLimit, as...))
}

// TestFormatsAreReproducibleOnArm64 builds every format with Kiln for arm64, in a process for which it is the year 2031: QEMU's
// emulation of programs asks the C library for the time, which can be told another one.
func TestFormatsAreReproducibleOnArm64(t *testing.T) {
	full(t)
	w := prepared(t)
	const faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
	if _, err := os.Stat(faketime); err != nil {
		t.Skipf("%s is not there; `make e2e` installs it, or run: apt-get install --no-install-recommends faketime", faketime)
	}
	if _, err := exec.LookPath("qemu-aarch64"); err != nil {
		t.Skip("qemu-aarch64 is not installed; `make e2e` installs it, or run: apt-get install --no-install-recommends qemu-user")
	}
	here := w.sums(t, 2*buildLimit)
	other := w.elsewhere(t)
	ctx, cancel := context.WithTimeout(t.Context(), imagesLimit)
	defer cancel()
	other.kiln = filepath.Join(t.TempDir(), "kiln-arm64")
	if _, err := w.run(ctx, "env", "GOARCH=arm64", "go", "build", "-trimpath", "-o", other.kiln, "./cli/kiln"); err != nil {
		t.Fatal(err)
	}
	// Go's asynchronous preemption is by signals, which emulated programs get wrong at times.
	as := []string{"env", "LD_PRELOAD=" + faketime, "FAKETIME=@2031-02-03 04:05:06", "GODEBUG=asyncpreemptoff=1", "qemu-aarch64"}
	sameSums(t, here, other.sums(t, 2*imagesLimit, as...))
	builds, err := other.run(ctx, as[0], append(as[1:], other.kiln, "builds", "--cache", other.cache)...)
	if err != nil || !strings.Contains(builds, "01c0") { // a version 7 UUID begins with the time
		t.Errorf("the builds were not of the year 2031: %v\n%s", err, builds)
	}
}

// elsewhere is a world with a cache of its own, with nothing in it but the images.
func (w *world) elsewhere(t *testing.T) *world {
	t.Helper()
	other := &world{root: w.root, kiln: w.kiln, cache: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), imagesLimit)
	defer cancel()
	if _, err := other.run(ctx, filepath.Join(w.root, "examples/images/build.sh"), "amd64", "arm64"); err != nil {
		t.Fatal(err)
	}
	return other
}

func sameSums(t *testing.T, here, there map[string]string) {
	t.Helper()
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
func (w *world) sums(t *testing.T, limit time.Duration, as ...string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
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
