package oci

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// rootfs makes a small tree; contents and names are always the same, times and owners are not.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "bin/hello"), []byte("#!/bin/sh\necho hello\n"), 0o755))
	must(os.Link(filepath.Join(dir, "bin/hello"), filepath.Join(dir, "bin/zhello")))
	must(os.Symlink("hello", filepath.Join(dir, "bin/again")))
	must(os.WriteFile(filepath.Join(dir, "bin-file"), []byte("sorts after bin/"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "secret"), nil, 0o400))
	must(os.Chmod(filepath.Join(dir, "bin/hello"), 0o755|fs.ModeSetuid))
	must(os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	must(os.Chmod(filepath.Join(dir, "tmp"), 0o777|fs.ModeSticky))
	return dir
}

func packOptions(dir, platform string) PackOptions {
	return PackOptions{
		Reference: "example.com/hello:1", Platform: platform, Dir: dir,
		Config: imagespec.ImageConfig{Entrypoint: []string{"/bin/hello"}, Labels: map[string]string{"b": "2", "a": "1"}, Env: []string{"A=b"}},
	}
}

// What is packed is the directory that a link leads to, and no image without files.
func TestALinkToADirectoryIsPackedAsTheDirectory(t *testing.T) {
	dir := rootfs(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	var want *Packed
	for _, from := range []string{dir, link} {
		d := openDir(t)
		got, err := Pack(t.Context(), d, d, packOptions(from, "linux/amd64"))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if got.Manifest.Digest != want.Manifest.Digest {
			t.Errorf("%s: packed as %s, want %s", from, got.Manifest.Digest, want.Manifest.Digest)
		}
	}
}

func TestPackIsReproducible(t *testing.T) {
	for range 2 {
		d := openDir(t)
		dir := rootfs(t)
		now := time.Now()
		if err := os.Chtimes(filepath.Join(dir, "bin/hello"), now, now); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct{ platform, want string }{
			{"linux/arm64", goldenArm},
			{"linux/amd64", goldenBoth},
			{"linux/arm64", goldenBoth},
		} {
			got, err := Pack(context.Background(), d, d, packOptions(dir, step.platform))
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Target.Digest) != step.want {
				t.Errorf("%s: got %s, want %s", step.platform, got.Target.Digest, step.want)
			}
		}
		for _, platform := range []string{"linux/amd64", "linux/arm64"} {
			image, err := ResolveName(context.Background(), d, d, "example.com/hello:1", platform)
			if err != nil || len(image.Layers) != 1 || image.Platform != platform {
				t.Errorf("%s: got %v, %v", platform, image, err)
			}
		}
	}
}

// The digests of what rootfs packs to. They change when Go's tar, the gzip writer or packLevel does.
const (
	goldenArm  = "sha256:8848ddf4f8ab4a68443b8a743defef6c372cdc54a420e79a5461693f08f15a2d"
	goldenBoth = "sha256:f214bb845029893650428cfc93dd07448fe00ae0a3b91a5e72704f946463e02c"
)

func TestPackedLayer(t *testing.T) {
	d := openDir(t)
	packed, err := Pack(context.Background(), d, d, packOptions(rootfs(t), "linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := ResolveName(context.Background(), d, d, packed.Name, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(strings.NewReader(string(readBlob(t, d, image.Layers[0].Digest))))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%c %04o %d:%d %d %d %s %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.Unix(), h.Name, h.Linkname))
	}
	want := []string{
		"5 0755 0:0 0 0 bin/ ",
		"2 0777 0:0 0 0 bin/again hello",
		"0 4755 0:0 21 0 bin/hello ",
		"1 4755 0:0 0 0 bin/zhello bin/hello",
		"0 0600 0:0 16 0 bin-file ",
		"0 0400 0:0 0 0 secret ",
		"5 1777 0:0 0 0 tmp/ ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	config := string(readBlob(t, d, image.Config))
	for _, part := range []string{`"created":"1970-01-01T00:00:00Z"`, `"architecture":"amd64"`, `"Entrypoint":["/bin/hello"]`, `"Labels":{"a":"1","b":"2"}`} {
		if !strings.Contains(config, part) {
			t.Errorf("config %s lacks %s", config, part)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	dir := rootfs(t)
	socket := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(socket, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, tt := range []struct {
		name, want string
		change     func(*PackOptions)
	}{
		{"a directory that is not there", "there is no such directory", func(o *PackOptions) { o.Dir = dir + "/absent" }},
		{"a file", "it is not a directory", func(o *PackOptions) { o.Dir = dir + "/secret" }},
		{"a malformed platform", `"amd64" is no platform: write it like linux/amd64`, func(o *PackOptions) { o.Platform = "amd64" }},
		{"a malformed name", `"Hello World" is no image reference`, func(o *PackOptions) { o.Reference = "Hello World" }},
		{"a socket", "s: it is a socket", func(o *PackOptions) { o.Dir = socket }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openDir(t)
			o := packOptions(dir, "linux/amd64")
			tt.change(&o)
			if _, err := Pack(context.Background(), d, d, o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
