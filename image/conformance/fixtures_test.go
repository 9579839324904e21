package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var (
	epoch      = time.Date(2021, 6, 1, 12, 0, 0, 0, time.UTC)
	emptyIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
)

// entry is one tar entry of a layer. size > 0 makes a body of that many seeded bytes, half compressible.
type entry struct {
	name, link, body string
	kind             byte
	mode             int64
	uid, gid         int
	major, minor     int64
	xattrs           map[string]string
	size             int
	mtime            time.Time
}

// fixture is one image: its reference, its layers bottom first, its config.
type fixture struct {
	ref            string
	layers         [][]entry
	config         v1.Config
	seed           int64
	singleManifest bool // published as a manifest for amd64 alone, not as an index
}

func dir(name string) entry           { return entry{name: name, kind: tar.TypeDir, mode: 0o755} }
func file(name, body string) entry    { return entry{name: name, mode: 0o644, body: body} }
func binary(name string, n int) entry { return entry{name: name, mode: 0o755, size: n} }
func symlink(name, to string) entry {
	return entry{name: name, kind: tar.TypeSymlink, link: to, mode: 0o777}
}
func hardlink(name, to string) entry {
	return entry{name: name, kind: tar.TypeLink, link: to, mode: 0o755}
}
func apkDB(text string) []entry {
	return []entry{dir("lib/"), dir("lib/apk/"), dir("lib/apk/db/"), file("lib/apk/db/installed", text)}
}

// labFixtures are images made to exercise the corners: whiteouts, hard links, devices, xattrs, labels.
func labFixtures() []fixture {
	kernel := make([]byte, 8<<20)
	rand.New(rand.NewSource(7)).Read(kernel)
	label := map[string]string{"org.mobyproject.config": `{"capabilities":["CAP_NET_ADMIN","CAP_CHOWN"],"binds":["/etc/resolv.conf:/etc/resolv.conf"],"readonly":true,"net":"new","runtime":{"mkdir":["/var/lib/svc"]}}`}
	init := []entry{dir("bin/"), binary("bin/busybox", 900000), hardlink("bin/sh", "bin/busybox"), symlink("bin/ls", "/bin/busybox"),
		dir("etc/"), file("etc/passwd", "root:x:0:0::/:/bin/sh\n"), file("etc/arch", "@arch\n")}
	init = append(init, apkDB("P:busybox\nV:1\n")...)
	init = append(init, dir("sbin/"), binary("init", 4000), symlink("sbin/init", "../init"), dir("dev/"),
		entry{name: "dev/console", kind: tar.TypeChar, mode: 0o600, major: 5, minor: 1},
		dir("proc/"), dir("sys/"), dir("run/"), dir("tmp/"), dir("var/"), file("etc/resolv.conf", "nameserver 192.0.2.1\n"))
	runc := append([]entry{dir("usr/"), dir("usr/bin/"), binary("usr/bin/runc", 3000000)}, apkDB("P:runc\nV:2\n")...)
	fixtures := []fixture{
		{ref: "docker.io/lab/kernel:6.12", layers: [][]entry{{file("kernel", string(kernel)), file("kernel.tar", kernelModules(50)), file("kernel-dev.tar", "junk"), file("System.map", "junk"), file("intel-ucode.cpio", "UCODE-CPIO-BYTES @arch\n")}}},
		{ref: "docker.io/lab/init:1", layers: [][]entry{init}},
		{ref: "docker.io/lab/runc:1", layers: [][]entry{runc}},
		{ref: "docker.io/lab/svc:1",
			config: v1.Config{Entrypoint: []string{"/usr/bin/svc"}, Cmd: []string{"--x"}, Env: []string{"PATH=/bin"}, WorkingDir: "/srv", Labels: label},
			layers: [][]entry{
				{dir("usr/"), dir("usr/bin/"), binary("usr/bin/svc", 500000), dir("opt/"), file("opt/old", "old"), file("opt/gone", "gone"),
					dir("etc/"), file("etc/hosts", "x"), file("etc/hostname", "h"), dir("data/"), file("data/a", "lower a"),
					{name: "usr/bin/su", mode: 0o4755, body: "su", gid: 10}},
				{dir("opt/"), file("opt/old", "new"), file("opt/.wh.gone", ""), dir("data/"), file("data/b", "upper b @arch"),
					{name: "usr/bin/ping", mode: 0o755, body: "ping", xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}},
					{name: "etc/stamp", mode: 0o644, body: "s", mtime: epoch.Add(123456789)},
					file("usr/"+strings.Repeat("long/", 30)+"file", "long"), hardlink("usr/bin/svc2", "./usr/bin/svc"), file("./etc/dotslash", "y")},
			}},
		{ref: "docker.io/lab/svc-rw:1", config: v1.Config{Cmd: []string{"/bin/w"}}, layers: [][]entry{{dir("bin/"), binary("bin/w", 200000), file("bin/arch", "@arch")}}},
		{ref: "docker.io/lab/single:1", singleManifest: true, config: v1.Config{Cmd: []string{"/bin/single"}}, layers: [][]entry{{dir("bin/"), binary("bin/single", 300000)}}},
		{ref: "docker.io/lab/resolvlink:1", config: v1.Config{Cmd: []string{"/bin/x"}}, layers: [][]entry{{dir("etc/"), symlink("etc/resolv.conf", "/run/resolv.conf")}}},
		// An opaque directory hides what is below it; LinuxKit ignores the mark, so no golden case uses this image.
		{ref: "docker.io/lab/opaque:1", layers: [][]entry{
			{dir("data/"), file("data/below", "must not be seen")},
			{dir("data/"), file("data/.wh..wh..opq", ""), file("data/above", "seen")},
		}},
		{ref: "docker.io/lab/data:1", layers: [][]entry{{dir("www/"), file("www/index.html", "<h1>hi @arch</h1>")}}},
	}
	for i := range fixtures {
		fixtures[i].seed = int64(i * 100)
	}
	return fixtures
}

func (f fixture) build() partial.WithRawManifest {
	image := func(arch string) v1.Image {
		var layers []v1.Layer
		for i, entries := range f.layers {
			layers = append(layers, layer(entries, f.seed+int64(i), arch))
		}
		img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		img, err := mutate.AppendLayers(img, layers...)
		must(err)
		config, err := img.ConfigFile()
		must(err)
		config = config.DeepCopy()
		config.Architecture, config.OS, config.Config, config.Created = arch, "linux", f.config, v1.Time{Time: epoch}
		img, err = mutate.ConfigFile(img, config)
		must(err)
		return img
	}
	if f.singleManifest {
		return image("amd64")
	}
	index := emptyIndex
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image(arch), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index
}

// layer tars entries; "@arch" in a body becomes the architecture, so that no two platforms are alike.
func layer(entries []entry, seed int64, arch string) v1.Layer {
	random := rand.New(rand.NewSource(seed))
	var raw bytes.Buffer
	tw := tar.NewWriter(&raw)
	for _, e := range entries {
		body := []byte(strings.ReplaceAll(e.body, "@arch", arch))
		if e.size > 0 {
			body = make([]byte, e.size)
			random.Read(body)
			for i := range len(body) / 2 {
				body[i] = byte(i / 64)
			}
		}
		if e.mtime.IsZero() {
			e.mtime = epoch
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, Gid: e.gid, Linkname: e.link, ModTime: e.mtime, Devmajor: e.major, Devminor: e.minor}
		if e.kind == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(body))
		}
		if e.xattrs != nil || e.mtime.Nanosecond() != 0 {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{}
		}
		for k, v := range e.xattrs {
			h.PAXRecords["SCHILY.xattr."+k] = v
		}
		must(tw.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := tw.Write(body)
			must(err)
		}
	}
	must(tw.Close())
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw.Bytes())), nil }
	l, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
	must(err)
	return l
}

// kernelModules is a kernel.tar with n modules.
func kernelModules(n int) string {
	var raw bytes.Buffer
	tw := tar.NewWriter(&raw)
	add := func(h *tar.Header, body string) {
		h.ModTime, h.Size = epoch, int64(len(body))
		must(tw.WriteHeader(h))
		_, err := io.WriteString(tw, body)
		must(err)
	}
	for _, d := range []string{"lib/", "lib/modules/", "lib/modules/6.12.59-test/"} {
		add(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
	for i := range n {
		add(&tar.Header{Name: fmt.Sprintf("lib/modules/6.12.59-test/m%03d.ko", i), Typeflag: tar.TypeReg, Mode: 0o644}, strings.Repeat(fmt.Sprintf("module %d ", i), 1000))
	}
	must(tw.Close())
	return raw.String()
}

func must(err error) {
	if err != nil {
		panic(err) // a fault of the fixtures, not of what is tested
	}
}
