package conformance

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestInitrdUnpacksToTheTarsTree(t *testing.T) {
	k := newKiln(t, lab())
	cases, err := filepath.Abs("testdata/cases")
	must(err)
	names, err := filepath.Glob(cases + "/*.yml")
	must(err)
	t.Chdir(cases)
	for i, name := range names {
		t.Run(short(name), func(t *testing.T) {
			compression := []string{"gzip", "zstd"}[i%2]
			spec := noSBOM([]string{"tar", "kernel+initrd"}, "linux/amd64")
			spec.Options.Compress = compression
			b := k.build(t, k.load(t, "", filepath.Base(name)), spec)
			want := untar(t, asReader(b.open(t, "linux/amd64", ".tar"))).lines()
			initrd := asReader(b.open(t, "linux/amd64", "-initrd.img"))
			skipMicrocode(t, initrd)
			got := unpackInitrd(t, initrd, compression).lines()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("tree of the tar (-) and of the initrd (+):\n%s", diff)
			}
		})
	}
}

func TestInitrdUnpacksToTheTarsTreeWherePartsMeet(t *testing.T) {
	k := newKiln(t, lab())
	for name, yaml := range map[string]string{
		"a file in place of one name of a hard-linked pair": "files: [{path: bin/sh, contents: mine}]",
		"a file in place of the other name":                 "files: [{path: bin/busybox, contents: mine}]",
		"a link in place of a file":                         "files: [{path: etc/passwd, symlink: /run/passwd}]",
		"a file in place of a link":                         "files: [{path: bin/ls, contents: mine}]",
		"a directory that is there already":                 "files: [{path: etc, directory: true, mode: \"0711\"}]",
		"a file among the containers":                       "services: [{name: s, image: \"lab/svc:1\"}]\nfiles: [{path: containers/services/s/rootfs/usr/bin/svc, contents: mine}]",
		"two images with a package database each":           "services: []",
	} {
		t.Run(name, func(t *testing.T) {
			b := k.build(t, inline("init: [\"lab/init:1\", \"lab/runc:1\"]\n"+yaml+"\n"), noSBOM([]string{"tar", "kernel+initrd"}, "linux/amd64"))
			want := untar(t, asReader(b.open(t, "linux/amd64", ".tar"))).lines()
			got := unpackInitrd(t, asReader(b.open(t, "linux/amd64", "-initrd.img")), "gzip").lines()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("tree of the tar (-) and of the initrd (+):\n%s", diff)
			}
		})
	}
}

func asReader(r interface {
	io.ReaderAt
	Size() int64
}) *io.SectionReader {
	return io.NewSectionReader(r, 0, r.Size())
}

// skipMicrocode leaves r where the first compressed archive starts.
func skipMicrocode(t testing.TB, r *io.SectionReader) {
	t.Helper()
	var head [4]byte
	for at := int64(0); at < 4096; at += 4 {
		if _, err := r.ReadAt(head[:], at); err != nil {
			break
		}
		if bytes.HasPrefix(head[:], []byte{0x1f, 0x8b}) || bytes.Equal(head[:], []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the initrd has no compressed archive")
}

func TestMicrocodeIsInFrontOfTheInitrdAndBesideItInTheBootTar(t *testing.T) {
	k := newKiln(t, lab())
	b := k.build(t, inline("kernel: {image: \"lab/kernel:6.12\", cmdline: quiet, ucode: intel-ucode.cpio}\ninit: [\"lab/init:1\"]\n"),
		noSBOM([]string{"kernel+initrd", "tar-kernel-initrd"}, "linux/arm64"))
	const microcode = "UCODE-CPIO-BYTES arm64\n"
	start := make([]byte, len(microcode))
	if _, err := b.open(t, "linux/arm64", "-initrd.img").ReadAt(start, 0); err != nil || string(start) != microcode {
		t.Errorf("the initrd starts with %q (%v), want the microcode", start, err)
	}
	members := map[string]int{}
	for tr := tar.NewReader(asReader(b.open(t, "linux/arm64", "-initrd.tar"))); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		must(err)
		body, err := io.ReadAll(tr)
		must(err)
		members[h.Name] = len(body)
		switch want := map[string]string{"cmdline": "quiet", "ucode.cpio": microcode}[h.Name]; {
		case want != "" && string(body) != want:
			t.Errorf("%s holds %q, want %q", h.Name, body, want)
		case h.Name == "initrd.img":
			if body[0] != 0x1f || body[1] != 0x8b {
				t.Errorf("initrd.img starts with %x, want a gzip member: its microcode is a file of its own", body[:2])
			}
		}
	}
	got := slices.Sorted(maps.Keys(members))
	if want := []string{"cmdline", "initrd.img", "kernel", "ucode.cpio"}; !slices.Equal(got, want) {
		t.Errorf("members are %v, want %v", got, want)
	}
	if want := 8 << 20; members["kernel"] != want {
		t.Errorf("the kernel has %d bytes, want %d", members["kernel"], want)
	}
}

func TestOpaqueDirectoryHidesWhatIsBelow(t *testing.T) {
	k := newKiln(t, lab())
	b := k.build(t, inline("init: [\"lab/opaque:1\"]\n"), noSBOM([]string{"tar"}, "linux/amd64"))
	f := untar(t, asReader(b.open(t, "linux/amd64", ".tar")))
	if f["data/above"] == nil || f["data/below"] != nil {
		t.Errorf("data/above is there: %v, data/below is there: %v; want true, false", f["data/above"] != nil, f["data/below"] != nil)
	}
}

func TestDockerFormatIsTheTarWithADockerfile(t *testing.T) {
	k := newKiln(t, lab())
	config := inline("init: [\"lab/init:1\"]\n")
	b := k.build(t, config, noSBOM([]string{"tar", "docker"}, "linux/amd64"))
	plain := untar(t, asReader(b.open(t, "linux/amd64", ".tar")))
	docker := untar(t, asReader(b.open(t, "linux/amd64", ".docker")))
	if docker["Dockerfile"] == nil {
		t.Fatal("there is no Dockerfile")
	}
	delete(docker, "Dockerfile")
	if diff := cmp.Diff(plain.lines(), docker.lines()); diff != "" {
		t.Errorf("tar (-) and docker (+):\n%s", diff)
	}
}

func TestSBOMIsTheSameInEveryRun(t *testing.T) {
	k := newKiln(t, lab())
	spec := &kilnv1.BuildSpec{Platforms: []string{"linux/amd64"}, Formats: []string{"tar"}}
	config := inline("init: [\"lab/init:1\"]\n")
	first, second := k.build(t, config, spec), newKiln(t, lab()).build(t, config, spec)
	if a, b := first.sum(t, "linux/amd64", ".tar"), second.sum(t, "linux/amd64", ".tar"); a != b {
		t.Errorf("two runs differ: %s and %s", a, b)
	}
	if untar(t, asReader(first.open(t, "linux/amd64", ".tar")))["sbom.spdx.json"] == nil {
		t.Error("the tar has no sbom.spdx.json")
	}
}
