package runners

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

func modules(t testing.TB) []byte {
	return layer(t, dir("./lib/"), dir("./lib/modules/"), file("./lib/modules/a.ko", strings.Repeat("module", 20000)), soft("./lib/modules/build", "/src"))
}

func kernelImage(t testing.TB) []item {
	return []item{file("System.map", "junk"), file("intel-ucode.cpio", "UCODE"), file("kernel", "KERNEL"), file("kernel.tar", string(modules(t)))}
}

var kernelRoot = step.Root{Rule: step.RuleKernel, Cmdline: "console=ttyS0", Binary: "kernel", Modules: "kernel.tar", Microcode: "intel-ucode.cpio"}

func TestKernelSegment(t *testing.T) {
	for _, c := range []struct {
		name  string
		image func([]item) []item
		want  []string
	}{
		{"microcode first", func(i []item) []item { return i },
			[]string{"boot", "boot/ucode.cpio", "boot/cmdline", "boot/kernel", "./lib/", "./lib/modules/", "./lib/modules/a.ko", "./lib/modules/build"}},
		{"microcode last", func(i []item) []item { return append(append([]item{}, i[2:]...), i[1]) },
			[]string{"boot", "boot/cmdline", "boot/kernel", "./lib/", "./lib/modules/", "./lib/modules/a.ko", "./lib/modules/build", "boot/ucode.cpio"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			tree := f.tree(c.image(kernelImage(t))...)
			segment := f.segment(step.SegmentParams{Root: kernelRoot, Source: "lab/kernel:1", Location: "kernel"}, one(tree))
			if diff := cmp.Diff(c.want, tarNames(t, segment)); diff != "" {
				t.Errorf("entries differ (-want +got):\n%s", diff)
			}
			// The modules' entries are as archive/tar writes them behind one another.
			var want bytes.Buffer
			w := tar.NewWriter(&want)
			i := file("./lib/modules/a.ko", strings.Repeat("module", 20000))
			i.Size, i.ModTime, i.Format = int64(len(i.body)), epoch, tar.FormatPAX
			i.PAXRecords = map[string]string{"LINUXKIT.source": "lab/kernel:1", "LINUXKIT.location": "kernel"}
			w.WriteHeader(&i.Header)
			w.Write([]byte(i.body))
			w.Flush()
			if !bytes.Contains(segment, want.Bytes()) {
				t.Error("the module is not in the segment as archive/tar writes it")
			}
		})
	}
}

func TestKernelOutputsAndInitrd(t *testing.T) {
	f := newFarm(t)
	tree := f.tree(kernelImage(t)...)
	out, err := f.try(step.Kernel, step.KernelParams{Binary: "kernel", Microcode: "intel-ucode.cpio"}, one(tree))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.bytes(out.Outputs[0].Digest)); got != "KERNEL" {
		t.Errorf("kernel %q", got)
	}
	p := f.run(step.InitrdPart, step.InitrdPartParams{Root: kernelRoot, Compress: "gzip"}, one(tree))
	initrd := f.bytes(f.run(step.Artifact, step.ArtifactParams{Format: "initrd", Compress: "gzip"},
		append(inputs("part", p), step.Input{Name: "microcode", Digest: out.Outputs[1].Digest})...))
	if !bytes.HasPrefix(initrd, []byte("UCODE\x00\x00\x00\x1f\x8b")) {
		t.Errorf("the initrd starts with %q, want the microcode, zeros to a multiple of four, and gzip", initrd[:12])
	}
	root := boot(t, initrd[8:])
	if root["boot"] == nil || root["boot/kernel"] != nil || root["lib/modules/a.ko"] == nil || len(root["lib/modules/a.ko"].data) != 120000 {
		t.Errorf("unpacked: %v", root.listing())
	}
}

// bzImage is a kernel with boot protocol 2.15 around payload.
func bzImage(payload []byte) string {
	b := make([]byte, 4*512)
	b[0x1f1] = 2 // sectors of setup after the first
	b[0x1fe], b[0x1ff] = 0x55, 0xaa
	copy(b[0x202:], "HdrS\x0f\x02")
	binary.LittleEndian.PutUint32(b[0x248:], 512)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)))
	return string(b) + string(payload)
}

func TestDecompressKernel(t *testing.T) {
	vmlinux := []byte(strings.Repeat("the kernel itself ", 1000))
	sized := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, uint32(len(vmlinux))) }
	for _, c := range []struct{ name, kernel, want string }{
		{"gzip", string(gzipText(vmlinux)), ""},
		{"zstd", string(zstded(vmlinux)), ""},
		{"a bzImage of gzip", bzImage(gzipText(vmlinux)), ""},
		{"a bzImage of gzip and its size", bzImage(sized(gzipText(vmlinux))), ""},
		{"a bzImage of zstd", bzImage(sized(zstded(vmlinux))), ""},
		{"a bzImage of xz", bzImage([]byte("\xfd7zXZ\x00 and more")), "the kernel's payload is compressed with something other than gzip or zstd; leave out --decompress-kernel"},
		{"a bzImage cut off", bzImage(gzipText(vmlinux))[:2100], "the kernel's payload is beyond its end; the kernel image is damaged"},
		{"gzip cut off", string(gzipText(vmlinux)[:30]), "the kernel cannot be decompressed: unexpected EOF; pull or make the kernel image again"},
		{"no compression", "ELF", "the kernel is neither compressed nor a bzImage; leave out --decompress-kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			out, err := f.try(step.Kernel, step.KernelParams{Binary: "kernel", Decompress: true}, one(f.tree(file("kernel", c.kernel))))
			if c.want != "" {
				var failure *step.Failure
				if !errors.As(err, &failure) || err.Error() != c.want {
					t.Errorf("error %v\nwant  %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := f.bytes(out.Outputs[0].Digest); !bytes.Equal(got, vmlinux) {
				t.Errorf("%d bytes, want %d", len(got), len(vmlinux))
			}
		})
	}
}

func TestKernelFaultsAreSentences(t *testing.T) {
	for _, c := range []struct {
		name  string
		image []item
		want  string
	}{
		{"no kernel", []item{file("vmlinuz", "")}, "the kernel image has no file kernel; name the right one with kernel.binary"},
		{"no modules", []item{file("kernel", "K")}, "the kernel image has no file kernel.tar; name the right one with kernel.tar, or write tar: none"},
		{"modules that are no tar", []item{file("kernel", "K"), file("kernel.tar", strings.Repeat("junk", 300))},
			"the modules in kernel.tar cannot be unpacked: archive/tar: invalid tar header"},
		{"modules that climb out", []item{file("kernel", "K"), file("kernel.tar", string(layer(t, file("../etc/passwd", ""))))},
			`the modules in kernel.tar have an entry "../etc/passwd" outside of the image`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			_, err := f.try(step.Segment, step.SegmentParams{Root: kernelRoot}, one(f.tree(c.image...)))
			var failure *step.Failure
			if !errors.As(err, &failure) || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestPackageDatabasesAreJoinedFromTwoOn(t *testing.T) {
	db := func(text string) []item { return []item{file("lib/apk/db/installed", text)} }
	f := newFarm(t)
	with, without := f.tree(db("P:a\n")...), f.tree(file("x", ""))
	params := step.SegmentParams{Root: step.Root{Rule: step.RuleAPK}, Source: "x", Location: "y"}
	if got := f.segment(params, inputs("tree", with, without)...); len(got) != 0 {
		t.Errorf("one database: %d bytes, want none", len(got))
	}
	got := f.segment(params, inputs("tree", with, without, with)...)
	r := tar.NewReader(bytes.NewReader(got))
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	body.ReadFrom(r)
	if h.Name != "lib/apk/db/installed" || h.ModTime.Unix() != 0 || h.PAXRecords["LINUXKIT.source"] != "LINUXKIT.apkinit" || h.PAXRecords["LINUXKIT.location"] != "init" || body.String() != "P:a\n\n\nP:a\n\n\n" {
		t.Errorf("%+v: %q", h, body.String())
	}
}

// FuzzModules: no modules' tar brings the step down or a body beyond its blob.
func FuzzModules(f *testing.F) {
	f.Add(modules(f))
	f.Add([]byte("junk"))
	f.Fuzz(func(t *testing.T, b []byte) {
		farm := newFarm(t)
		tree := farm.flatten(layer(t, file("kernel", "K"), file("kernel.tar", string(b)), file("intel-ucode.cpio", "U")))
		for _, params := range []any{step.SegmentParams{Root: kernelRoot}, step.InitrdPartParams{Root: kernelRoot, Compress: "gzip"}} {
			kind := step.Segment
			if _, ok := params.(step.InitrdPartParams); ok {
				kind = step.InitrdPart
			}
			out, err := farm.try(kind, params, one(tree))
			var failure *step.Failure
			if err != nil && !errors.As(err, &failure) {
				t.Fatalf("%s: not the image's fault: %v", kind, err)
			}
			if err == nil && kind == step.Segment {
				farm.bytes(out.Outputs[0].Digest)
			}
		}
	})
}

func TestInlineBodiesOfTreesMadeByOthers(t *testing.T) {
	f := newFarm(t)
	tree := f.inlined(kernelImage(t))
	if diff := cmp.Diff([]string{"boot", "boot/ucode.cpio", "boot/cmdline", "boot/kernel", "./lib/", "./lib/modules/", "./lib/modules/a.ko", "./lib/modules/build"},
		tarNames(t, f.segment(step.SegmentParams{Root: kernelRoot, Source: "s"}, one(tree)))); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
	cut := kernelImage(t)
	cut[3].body = cut[3].body[:3000]
	if _, err := f.try(step.Segment, step.SegmentParams{Root: kernelRoot}, one(f.inlined(cut))); err == nil {
		t.Error("modules cut off were taken")
	}
}

// inlined is a tree with all bodies in its index.
func (f *farm) inlined(items []item) cache.Digest {
	f.t.Helper()
	var index bytes.Buffer
	w := tree.NewWriter(&index)
	for _, i := range items {
		e, err := tree.FromHeader(&i.Header)
		if err != nil {
			f.t.Fatal(err)
		}
		if i.body != "" {
			e.Body = tree.Body{Inline: []byte(i.body), Size: int64(len(i.body))}
		}
		if err := w.Append(e); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	return f.put(index.Bytes())
}
