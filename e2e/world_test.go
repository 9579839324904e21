package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Limits: a quiet machine makes the images in a minute at most (downloads included) and boots one in 15 s.
const (
	imagesLimit = 8 * time.Minute
	buildLimit  = 2 * time.Minute
	bootLimit   = 2 * time.Minute
	endLimit    = 10 * time.Second // of a program that was told to end
)

// world is what the tests of one run share: a binary, and a cache with the example images.
type world struct {
	root  string // of the repository
	kiln  string
	cache string
}

// prepared makes the world once, or skips when this machine lacks something.
func prepared(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("boots machines; not in -short")
	}
	for program, pkg := range map[string]string{"qemu-system-x86_64": "qemu-system-x86", "apt-get": "apt", "dpkg-deb": "dpkg", "zstd": "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed; `make test` installs it, or run: apt-get install --no-install-recommends %s", program, pkg)
		}
	}
	w, err := makeWorld()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// makeWorld is called by each test, and works for the first.
var makeWorld = sync.OnceValues(func() (*world, error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	w := &world{root: root, kiln: filepath.Join(root, "build/e2e/kiln"), cache: filepath.Join(root, "build/cache")}
	ctx, cancel := context.WithTimeout(context.Background(), imagesLimit)
	defer cancel()
	// The tests must not run yesterday's binary.
	if _, err := w.run(ctx, "go", "build", "-trimpath", "-o", w.kiln, "./cli/kiln"); err != nil {
		return nil, err
	}
	_, err = w.run(ctx, filepath.Join(root, "examples/images/build.sh"), "amd64", "arm64")
	return w, err
})

// run runs a program in the repository and returns what it wrote.
func (w *world) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = w.root
	cmd.Env = append(os.Environ(), "KILN="+w.kiln, "KILN_CACHE="+w.cache, "CGO_ENABLED=0")
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

// build builds the example into a directory of the test.
func (w *world) build(t *testing.T, flags ...string) (dir string) {
	t.Helper()
	return w.buildFile(t, "examples/hello.yml", flags...)
}

// buildFile builds an example.
func (w *world) buildFile(t *testing.T, file string, flags ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	args := append([]string{"build", "--cache", w.cache, "--progress", "plain", "--dir", dir}, flags...)
	if _, err := w.run(ctx, w.kiln, append(args, file)...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// full skips unless the slow tests are asked for.
func full(t *testing.T) {
	t.Helper()
	if os.Getenv("KILN_E2E") != "full" {
		t.Skip("slow; `make e2e` runs it")
	}
}
