package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kiln-farm/kiln/image/flat/flattest"
)

// imageOf makes an image of layers.
func imageOf(t *testing.T, layers [][]flattest.Item) v1.Image {
	t.Helper()
	config := v1.ConfigFile{Architecture: "amd64", OS: "linux", RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Cmd: []string{"/x"}}}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &config)
	if err != nil {
		t.Fatal(err)
	}
	for _, items := range layers {
		packed := flattest.Pack(t, items)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil }, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// imported puts an image into the cache and returns its name.
func (w *world) imported(t *testing.T, cache, name string, image v1.Image) string {
	t.Helper()
	ref := "lab.example/" + name + ":1"
	tag := tagOf(t, ref)
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, image); err != nil {
		t.Fatal(err)
	}
	if _, err := w.run(t.Context(), w.kiln, "cache", "import", "--cache", cache, file); err != nil {
		t.Fatal(err)
	}
	return ref
}

func tagOf(t *testing.T, ref string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// addedByLinuxKit is what every root file system has beside its images.
var addedByLinuxKit = []string{"dev", "dev/pts", "dev/shm", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"}

// TestLayersUnpackEverywhereAsOthersUnpackThem: whatever stack of layers an image is, every format holds the tree that
// umoci makes of it, read by programs that are not Kiln's.
func TestLayersUnpackEverywhereAsOthersUnpackThem(t *testing.T) {
	w := prepared(t)
	if os.Geteuid() != 0 {
		t.Skip("trees with owners are unpacked as root only")
	}
	for program, pkg := range map[string]string{"umoci": "umoci", "unsquashfs": "squashfs-tools", "fsck.erofs": "erofs-utils", "xorriso": "xorriso", "cpio": "cpio"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed; `make test` installs it, or run: apt-get install --no-install-recommends %s", program, pkg)
		}
	}
	cache := t.TempDir()
	unpack := []struct {
		format, file, command string
		links                 bool // the program restores hard links
	}{
		// As in LinuxKit's tar, a link may come before its file, which needs a second look.
		{"tar", "o.tar", `tar -C "$2" -xpf "$1" --numeric-owner 2>/dev/null || tar -C "$2" --overwrite -xpf "$1" --numeric-owner 2>/dev/null`, true},
		{"kernel+initrd", "o-initrd.img", `cd "$2" && zcat "$1" | cpio -idu --quiet --no-absolute-filenames`, true},
		{"kernel+squashfs", "o-squashfs.img", `unsquashfs -quiet -no-progress -force -dest "$2" "$1"`, true},
		{"kernel+erofs", "o-erofs.img", `fsck.erofs --extract="$2" --overwrite "$1"`, false},
		{"kernel+iso", "o.iso", `xorriso -report_about FAILURE -osirrox on -indev "$1" -extract / "$2"`, false},
	}
	var formats []string
	for _, u := range unpack {
		formats = append(formats, u.format)
	}
	for number, c := range flattest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			image := imageOf(t, c.Layers)
			want := byUmoci(t, c, image)
			ref := w.imported(t, cache, fmt.Sprintf("case%d", number), image)
			dir := t.TempDir()
			yml := filepath.Join(dir, "o.yml")
			if err := os.WriteFile(yml, []byte("init: [\""+ref+"\"]\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := w.run(t.Context(), w.kiln, "build", "--cache", cache, "--no-sbom", "--format", strings.Join(formats, ","), "--dir", dir, yml); err != nil {
				t.Fatal(err)
			}
			initrdInOrder(t, filepath.Join(dir, "o-initrd.img"))
			for _, u := range unpack {
				root := t.TempDir()
				tool(t, "sh", "-ec", u.command, "sh", filepath.Join(dir, u.file), root)
				got := flattest.OnDisk(t, root)
				for name := range got {
					if _, ok := want[name]; !ok && (slices.Contains(addedByLinuxKit, name) || name == "etc") {
						delete(got, name)
					}
				}
				if diff := cmp.Diff(apart(want, u.links), apart(got, u.links)); diff != "" {
					t.Errorf("%s: -umoci +Kiln:\n%s", u.format, diff)
				}
			}
		})
	}
}

// apart are the lines of things, without who is linked to whom unless that is asked for.
func apart(things map[string]flattest.Thing, links bool) []string {
	out := map[string]flattest.Thing{}
	for name, x := range things {
		if !links {
			x.Same = ""
		}
		out[name] = x
	}
	return flattest.Lines(out)
}

// byUmoci unpacks the image with umoci. Of entries that umoci refuses or takes in another way, which the specification leaves
// open, the case's own answer counts.
func byUmoci(t *testing.T, c flattest.Case, image v1.Image) map[string]flattest.Thing {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(filepath.Join(dir, "oci"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "x"})); err != nil {
		t.Fatal(err)
	}
	tool(t, "umoci", "unpack", "--image", filepath.Join(dir, "oci")+":x", filepath.Join(dir, "bundle"))
	things := flattest.OnDisk(t, filepath.Join(dir, "bundle/rootfs"))
	if diff := cmp.Diff(c.Want, flattest.Short(things)); diff != "" {
		t.Errorf("the case expects (-) something else than umoci makes (+):\n%s", diff)
	}
	return things
}

// initrdInOrder checks that every directory of an initrd comes before what is in it, once.
func initrdInOrder(t *testing.T, file string) {
	t.Helper()
	list := tool(t, "sh", "-ec", `zcat "$1" | cpio -t --quiet`, "sh", file)
	seen := map[string]bool{".": true}
	for line := range strings.Lines(list) {
		name := strings.TrimSpace(line)
		if seen[name] && name != "." {
			t.Errorf("the initrd has %s twice", name)
		}
		seen[name] = true
		if dir := filepath.Dir(name); !seen[dir] {
			t.Errorf("the initrd has %s before its directory", name)
		}
	}
}

// bootInit is what the images of TestLayersBoot run: it says what of the names is there, and powers off.
const bootInit = `package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	for _, name := range []string{"/opt/tool/run", "/usr/lib/mod", "/lib/mod", "/usr/lib/libc", "/gone/one", "/gone/two", "/lib.so"} {
		b, err := os.ReadFile(name)
		if err != nil {
			fmt.Println("LAYERS", name, "absent")
			continue
		}
		fmt.Println("LAYERS", name, string(b))
	}
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
`

// TestLayersBoot boots an initrd of layers that lose files elsewhere: hard links over layers, names below a symbolic link,
// directories without entries.
func TestLayersBoot(t *testing.T) {
	w := prepared(t)
	src := t.TempDir()
	for file, text := range map[string]string{"main.go": bootInit, "go.mod": "module init\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(src, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(src, "init")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir, build.Env = src, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	body, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	run := flattest.File("init", string(body))
	run.Mode = 0o755
	ref := w.imported(t, w.cache, "layers-boot", imageOf(t, [][]flattest.Item{
		{run, flattest.File("opt/tool/run", "R"), flattest.Dir("usr"), flattest.Dir("usr/lib"), flattest.File("usr/lib/libc", "C"), flattest.Soft("lib", "usr/lib"),
			flattest.Dir("gone"), flattest.File("gone/one", "D"), flattest.Hard("gone/two", "gone/one"), flattest.File("lib.so.1", "V1"), flattest.Hard("lib.so", "lib.so.1")},
		{flattest.File("lib/mod", "M"), flattest.File("gone/.wh.one", ""), flattest.File("lib.so.1", "V2")},
	}))
	yml := filepath.Join(t.TempDir(), "layers.yml")
	text := "kernel: {image: \"kiln.example/kernel:demo\", tar: none, cmdline: \"console=ttyS0 panic=-1\"}\ninit: [\"" + ref + "\"]\n"
	if err := os.WriteFile(yml, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := w.buildFile(t, yml, "--arch", "amd64", "--format", "kernel+initrd")
	file := func(suffix string) string { return filepath.Join(dir, "layers"+suffix) }
	boot(t, x86("-kernel", file("-kernel"), "-initrd", file("-initrd.img"), "-append", cmdline(t, file("-cmdline"))), []string{
		"LAYERS /opt/tool/run R", "LAYERS /usr/lib/mod M", "LAYERS /lib/mod M", "LAYERS /usr/lib/libc C", "LAYERS /gone/one absent", "LAYERS /gone/two D", "LAYERS /lib.so V1"})
}
