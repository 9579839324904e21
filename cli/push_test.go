package cli

import (
	"archive/tar"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/kiln-farm/kiln/cli/ui"
)

// What is pushed is read by the registry's own library with the checks of `crane validate`.
func TestPush(t *testing.T) {
	w := newWorld(t)
	host := strings.TrimPrefix(w.registry, "http://")
	push := func(ref, arch string) string {
		t.Helper()
		r := w.run("build", "--mirror", "docker.io="+w.registry, "--arch", arch, "--format", "oci", "--dir", t.TempDir(), "--push", host+"/"+ref, "hello.yml").ok(t)
		for _, line := range strings.Split(r.stderr, "\n") {
			if digest, ok := strings.CutPrefix(line, "pushed "+host+"/"+ref+"@"); ok {
				return digest
			}
		}
		t.Fatalf("no line says what was pushed:\n%s", r.stderr)
		return ""
	}
	parse := func(ref string) name.Reference { return must(name.ParseReference(host + "/" + ref)) }

	digest := push("out/hello:1", "amd64")
	image, err := remote.Image(parse("out/hello:1"))
	check(t, err)
	check(t, validate.Image(image))
	if got := must(image.Digest()).String(); got != digest {
		t.Errorf("the registry has %s, pushed was %s", got, digest)
	}
	if config := must(image.ConfigFile()); config.Architecture != "amd64" || config.OS != "linux" {
		t.Errorf("the image is for %s/%s", config.OS, config.Architecture)
	}
	referrers, err := remote.Referrers(parse("out/hello@" + digest).(name.Digest))
	check(t, err)
	if sboms := must(referrers.IndexManifest()).Manifests; len(sboms) != 1 || !strings.Contains(sboms[0].ArtifactType, "spdx") {
		t.Errorf("what refers to the image is %+v, want an SBOM", sboms)
	}
	if again := push("out/other:2", "amd64"); again != digest {
		t.Errorf("pushed again it is %s, was %s", again, digest)
	}

	t.Run("it holds what kernel+initrd writes", func(t *testing.T) {
		dir := t.TempDir()
		w.run("build", "--mirror", "docker.io="+w.registry, "--arch", "amd64", "--format", "kernel+initrd", "--dir", dir, "hello.yml").ok(t)
		inside := mutate.Extract(image)
		defer inside.Close()
		want := map[string]string{}
		for _, name := range []string{"kernel", "initrd.img", "cmdline"} {
			want[name] = string(must(os.ReadFile(filepath.Join(dir, "hello-"+name))))
		}
		if got := contents(t, inside); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	})

	t.Run("two architectures are an index", func(t *testing.T) {
		digest := push("out/both:1", "amd64,arm64")
		index, err := remote.Index(parse("out/both:1"))
		check(t, err)
		check(t, validate.Index(index))
		if got := must(index.Digest()).String(); got != digest {
			t.Errorf("the registry has %s, pushed was %s", got, digest)
		}
		for _, arch := range []string{"amd64", "arm64"} {
			image, err := remote.Image(parse("out/both:1"), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
			check(t, err)
			if got := must(image.ConfigFile()).Architecture; got != arch {
				t.Errorf("for %s there is an image for %s", arch, got)
			}
		}
	})
}

func TestPushesThatFailGetASentence(t *testing.T) {
	w := newWorld(t)
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer locked.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct{ name, url, want string }{
		{"a registry that refuses", locked.URL, "does not let you push to"},
		{"a registry that is gone", gone.URL, "cannot be reached to push to it: connect: connection refused; check the name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			got := w.run("build", "--mirror", "docker.io="+w.registry, "--arch", "amd64", "--format", "oci", "--dir", dir, "--push", strings.TrimPrefix(c.url, "http://")+"/x:1", "hello.yml")
			if got.code != ui.ExitFailed || !strings.Contains(got.last(), c.want) {
				t.Errorf("exit code %d, %q, want %q", got.code, got.last(), c.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "hello-oci.tar")); err != nil {
				t.Errorf("what was built is not there: %v", err)
			}
		})
	}
}

// contents are the files of a tar, by name.
func contents(t *testing.T, from io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		check(t, err)
		all[h.Name] = string(must(io.ReadAll(r)))
	}
}
