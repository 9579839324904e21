package runners

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// names are the entries of a tree, in order, each with its link and body.
func (f *farm) names(index cache.Digest) []string {
	f.t.Helper()
	out := []string{}
	err := part.Each(context.Background(), f.blobs, index, func(e *tree.Entry) error {
		line := e.Name
		if e.Linkname != "" {
			line += " -> " + e.Linkname
		}
		if e.Body.Size > 0 {
			all := f.get(e.Body.Blob)
			line += " = " + string(all[e.Body.Offset:e.Body.Offset+e.Body.Size])
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func TestFlattenOrderAndWhiteouts(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]item
		want   []string
	}{
		{"the highest layer comes first and its files win", [][]item{{dir("a/"), file("a/x", "old"), file("a/y", "y")}, {file("./a/x", "new")}},
			[]string{"a/x = new", "a", "a/y = y"}},
		{"a whiteout removes what is below it", [][]item{{dir("a/"), file("a/x", "x"), dir("a/d"), file("a/d/z", "z")}, {file("a/.wh.x", ""), file("a/.wh.d", "")}},
			[]string{"a"}},
		{"a file hides a directory and what was in it", [][]item{{dir("a/"), file("a/x", "x")}, {file("a", "file")}},
			[]string{"a = file"}},
		{"an opaque mark hides lower layers only, wherever it stands in its own", [][]item{
			{dir("d/"), file("d/low", "low"), dir("d/sub"), file("d/sub/low", "low"), file("e", "e")},
			{dir("d/"), file("d/before", "1"), file("d/.wh..wh..opq", ""), file("d/after", "2")}},
			[]string{"d", "d/before = 1", "d/after = 2", "e = e"}},
		{"an opaque root hides everything below", [][]item{{file("low", "low")}, {file(".wh..wh..opq", ""), file("high", "h")}},
			[]string{"high = h"}},
		{"a hard link may come before its file", [][]item{{hard("b", "./a"), file("a", "body")}}, []string{"b -> ./a", "a = body"}},
		{"a file below a link of the same layer goes where the link leads", [][]item{{soft("a", "/etc"), file("a/passwd", "p")}}, []string{"a -> /etc", "etc/passwd = p"}},
		{"a directory with a whiteout's name removes nothing", [][]item{{dir("x"), file("x/y", "y")}, {dir(".wh.x")}}, []string{"x", "x/y = y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			var layers [][]byte
			for i, items := range c.layers {
				b := layer(t, items...)
				switch i % 3 {
				case 1:
					b = gzipText(b)
				case 2:
					b = zstded(b)
				}
				layers = append(layers, b)
			}
			if diff := cmp.Diff(c.want, f.names(f.flatten(layers...))); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostileLayersAreRefused(t *testing.T) {
	good := gzipText(layer(t, file("a", strings.Repeat("x", 100000))))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	for _, c := range []struct {
		name  string
		bytes []byte
		want  string // after "layer sha256:…"
	}{
		{"a name that climbs out", layer(t, file("a/../../etc/passwd", "")), `: entry "../etc/passwd" is outside of the image`},
		{"a hard link out of the image", layer(t, hard("a", "../../etc/shadow")), `: hard link "a" points outside of the image, to "../../etc/shadow"`},
		{"a root that is a link", layer(t, soft("./", "/etc")), `: the root of the image is not a directory`},
		{"a type that no file has", layer(t, item{Header: tar.Header{Name: "v", Typeflag: 'V'}}), `: entry "v" has the unknown type 'V'`},
		{"a sparse file of a terabyte", sparse(t, 1<<40), `: with the 1.0 TiB of entry "zeros" the image unpacks to more than 128.0 GiB, which is the limit; if the image is what it should be, raise the limit with --max-unpack, where the build runs here or for its team on the farm (kiln farm team)`},
		{"gzip cut off", good[:len(good)/2], ` cannot be unpacked: unexpected EOF; pull or make the image again`},
		{"tar cut off", layer(t, file("a", "body"))[:514], ` cannot be unpacked: unexpected EOF; pull or make the image again`},
		{"a wrong checksum at the end", flipped, ` cannot be unpacked: gzip: invalid checksum; pull or make the image again`},
		{"no tar at all", []byte(strings.Repeat("no tar ", 200)), ` cannot be unpacked: archive/tar: invalid tar header; pull or make the image again`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			d := f.put(c.bytes)
			_, err := f.try(step.Flatten, step.FlattenParams{}, inputs("layer", d)...)
			var failure *step.Failure
			if want := "layer " + d.String() + c.want; !errors.As(err, &failure) || err.Error() != want {
				t.Errorf("error %v\nwant  %s", err, want)
			}
		})
	}
}

// sparse is a layer with one file of size zeros in the old GNU form, which archive/tar reads but does not write (tar
// manual, "Old GNU Format").
func sparse(t *testing.T, size int64) []byte {
	t.Helper()
	head := layer(t, item{Header: tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatGNU}})
	block := head[:512]
	block[156] = tar.TypeGNUSparse
	number := append([]byte{0x80}, binary.BigEndian.AppendUint64(make([]byte, 3), uint64(size))...)
	copy(block[386:], number) // data begins at the end: all before it is a hole
	copy(block[398:], "00000000000\x00")
	copy(block[483:], number)
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	return head
}

func TestFlattenNamesTheLayerThatIsMissing(t *testing.T) {
	f := newFarm(t)
	gone := cache.SumBytes([]byte("gone"))
	_, err := f.try(step.Flatten, step.FlattenParams{}, inputs("layer", gone)...)
	var missing *step.MissingBlob
	if !errors.As(err, &missing) || missing.Digest != gone {
		t.Errorf("error %v, want a missing blob %s", err, gone)
	}
}

// awkward is a layer with everything that a tar header can hold.
func awkward() []item {
	x := file("usr/bin/ping", "ping")
	x.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02", "SCHILY.xattr.user.a": "b", "VENDOR.k": "v"}
	kept := file("usr/kept", "k") // a record that says what its field says, as some tools always write
	kept.PAXRecords = map[string]string{"mtime": "1622548800", "path": "usr/kept", "VENDOR.k": "v"}
	subsecond := file("etc/stamp", "s")
	subsecond.ModTime = epoch.Add(123456789)
	subsecond.AccessTime, subsecond.ChangeTime, subsecond.Format = epoch.Add(time.Hour), epoch.Add(1), tar.FormatPAX
	owned := file("owned", strings.Repeat("0123456789abcdef", 5000)) // large enough to stay where it is
	owned.Uid, owned.Gid, owned.Uname, owned.Gname, owned.Mode = 3000000, 42, "jürgen", "staff", 0o6755
	device := item{Header: tar.Header{Name: "dev/tty9", Typeflag: tar.TypeChar, Mode: 0o620, Devmajor: 4, Devminor: 9}}
	fifo := item{Header: tar.Header{Name: "run/fifo", Typeflag: tar.TypeFifo, Mode: 0o600}}
	global := item{Header: tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123abcd"}}}
	return []item{global, dir("./usr/"), dir("usr/bin"), x, kept, subsecond, owned, device, fifo, file("empty", ""),
		file("usr/"+strings.Repeat("long/", 40)+"ö", "long"), hard("usr/bin/ping6", "./usr/bin/ping"), soft("ln", strings.Repeat("t/", 60))}
}

// extracted is the tar that LinuxKit would write of an image below prefix, but for what it replaces and adds: read from
// mutate.Extract and written again by archive/tar.
func extracted(t *testing.T, prefix, source, location string, layers ...[]byte) []byte {
	t.Helper()
	image := empty.Image
	for _, b := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		var next v1.Image
		if next, err = mutate.AppendLayers(image, l); err != nil {
			t.Fatal(err)
		}
		image = next
	}
	contents := mutate.Extract(image)
	defer contents.Close()
	var out bytes.Buffer
	w, r := tar.NewWriter(&out), tar.NewReader(contents)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		h.Format = tar.FormatPAX
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["LINUXKIT.source"], h.PAXRecords["LINUXKIT.location"] = source, location
		h.Name = prefix + h.Name
		if h.Typeflag == tar.TypeLink {
			h.Linkname = prefix + h.Linkname
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSegmentIsWhatArchiveTarWrites(t *testing.T) {
	layers := [][]byte{layer(t, awkward()...), layer(t, dir("usr/"), file("usr/bin/.wh.ping6", ""), file("./usr/new", "new"), file("empty", "not any more"))}
	f := newFarm(t)
	tree := f.flatten(layers[0], gzipText(layers[1]))
	want := extracted(t, "", "lab/x:1", "files[3]", layers...)
	got := f.segment(step.SegmentParams{Root: step.Root{Rule: step.RulePlain}, Source: "lab/x:1", Location: "files[3]"}, one(tree))
	same(t, got, want)
}

func TestImageSegmentIsExtractBetweenDirectoriesAndAdditions(t *testing.T) {
	const prefix = "containers/services/web/lower/"
	l := layer(t, awkward()...)
	f := newFarm(t)
	got := f.segment(step.SegmentParams{Root: step.Root{Rule: step.RuleImage, Prefix: prefix}, Source: "lab/x:1", Location: "services[0]"}, one(f.flatten(l)))
	want := extracted(t, prefix, "lab/x:1", "services[0]", l)
	at := bytes.Index(got, want)
	if at < 0 {
		t.Fatal("the image's own entries are not in the segment as LinuxKit writes them")
	}
	if diff := cmp.Diff([]string{"containers", "containers/services", "containers/services/web", "containers/services/web/lower"}, tarNames(t, got[:at])); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	added := []string{"dev", "dev/pts", "dev/shm", "etc", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"}
	for i := range added {
		added[i] = prefix + added[i]
	}
	if diff := cmp.Diff(added, tarNames(t, got[at+len(want):])); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
}

func tarNames(t *testing.T, b []byte) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.PAXRecords["LINUXKIT.source"] == "" {
			t.Errorf("%s has no record of its source", h.Name)
		}
		out = append(out, h.Name)
	}
}

func same(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	n := 0
	for n < min(len(got), len(want)) && got[n] == want[n] {
		n++
	}
	t.Errorf("%d bytes, want %d; they differ from %d on:\n got %q\nwant %q", len(got), len(want), n, around(got, n), around(want, n))
}

func around(b []byte, at int) []byte { return b[max(0, at-40):min(len(b), at+200)] }

// FuzzFlatten: no layer brings a name out of the image, and none brings the step down.
func FuzzFlatten(f *testing.F) {
	f.Add(layer(f, awkward()...))
	f.Add(gzipText(layer(f, file("a/.wh..wh..opq", ""), file(".wh.a", ""))))
	f.Fuzz(func(t *testing.T, b []byte) {
		farm := newFarm(t)
		out, err := farm.try(step.Flatten, step.FlattenParams{}, inputs("layer", farm.put(b))...)
		if err != nil {
			var failure *step.Failure
			if !errors.As(err, &failure) {
				t.Fatalf("not the layer's fault: %v", err)
			}
			return
		}
		for _, name := range farm.names(out.Outputs[0].Digest) {
			if strings.HasPrefix(name, "/") || name == ".." || strings.HasPrefix(name, "../") {
				t.Errorf("%q is outside of the image", name)
			}
		}
		if _, err := farm.try(step.InitrdPart, step.InitrdPartParams{Root: step.Root{Rule: step.RuleImage, Prefix: "p/"}, Compress: "gzip"}, one(out.Outputs[0].Digest)); err != nil {
			var failure *step.Failure
			if !errors.As(err, &failure) {
				t.Fatalf("initrd part: %v", err)
			}
		}
	})
}

// What an image would unpack to is refused when a header says so, before a byte of it is written.
func TestWhatALayerUnpacksToIsLimited(t *testing.T) {
	var header bytes.Buffer
	if err := tar.NewWriter(&header).WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Size: 20 << 30}); err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := encoder.EncodeAll(header.Bytes(), nil)
	for _, c := range []struct {
		name   string
		unpack *kilnv1.UnpackLimits
		layer  []byte
		want   string
	}{
		{"20 GiB out of a few bytes", nil, bomb, `with the 20.0 GiB of entry "zeros" a layer of`},
		{"as large as the team may have", &kilnv1.UnpackLimits{Bytes: 10 << 30, Ratio: math.MaxInt64}, bomb, "the image unpacks to more than 10.0 GiB, which is the limit"},
		{"as many files as the team may have", &kilnv1.UnpackLimits{Files: 1}, layer(t, dir("a/"), file("a/b", "")), `with entry "a/b" the image has more than 1 entries`},
		{"no limits, and the layer ends early", &kilnv1.UnpackLimits{Bytes: math.MaxInt64, Ratio: math.MaxInt64}, bomb, "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t)
			d := f.put(c.layer)
			req := &step.Request{Kind: step.Flatten, Version: step.Versions[step.Flatten], Inputs: inputs("layer", d), Unpack: c.unpack, Blobs: f.blobs, Log: func(string) {}}
			_, err := All()[step.Flatten].Run(t.Context(), req)
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), d.String()) {
				t.Errorf("got %v\nwant %q, with the layer's digest", err, c.want)
			}
		})
	}
}
