package e2e

import (
	"bufio"
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestBootFromTheNetwork(t *testing.T) {
	w := prepared(t)
	w.build(t, "--arch", "amd64,arm64")
	address := w.serve(t)
	// 10.0.2.2 is this machine, seen from QEMU's user network.
	script := "http://10.0.2.2:" + address.Port() + "/boot/hello.ipxe"
	boot(t, x86("-boot", "n", "-netdev", "user,id=n0,bootfile="+script, "-device", "virtio-net-pci,netdev=n0"), milestones("x86_64"))
}

func TestBootTheFiles(t *testing.T) {
	for _, compress := range []string{"gzip", "zstd"} {
		t.Run(compress, func(t *testing.T) {
			w := prepared(t)
			dir := w.build(t, "--arch", "amd64", "--compress", compress, "--name", "hello-"+compress)
			file := func(suffix string) string { return filepath.Join(dir, "hello-"+compress+suffix) }
			boot(t, x86("-kernel", file("-kernel"), "-initrd", file("-initrd.img"), "-append", cmdline(t, file("-cmdline"))), milestones("x86_64"))
		})
	}
}

func TestBootTheFilesOnArm64(t *testing.T) {
	full(t)
	w := prepared(t)
	if _, err := exec.LookPath("qemu-system-aarch64"); err != nil {
		t.Skip("qemu-system-aarch64 is not installed; `make e2e` installs it, or run: apt-get install --no-install-recommends qemu-system-arm")
	}
	for _, compress := range []string{"gzip", "zstd"} {
		t.Run(compress, func(t *testing.T) {
			dir := w.build(t, "--arch", "arm64", "--compress", compress)
			file := func(suffix string) string { return filepath.Join(dir, "hello"+suffix) }
			boot(t, []string{"qemu-system-aarch64", "-accel", "tcg", "-machine", "virt,gic-version=3", "-cpu", "cortex-a57", "-m", "1024",
				"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
				"-kernel", file("-kernel"), "-initrd", file("-initrd.img"), "-append", cmdline(t, file("-cmdline"))}, milestones("aarch64"))
		})
	}
}

// TestImagesAreReproducible packs the images again from nothing but the downloads.
func TestImagesAreReproducible(t *testing.T) {
	w := prepared(t)
	names := func(cache string) string {
		ctx, cancel := context.WithTimeout(t.Context(), imagesLimit)
		defer cancel()
		other := &world{root: w.root, kiln: w.kiln, cache: cache}
		out, err := other.run(ctx, filepath.Join(w.root, "examples/images/build.sh"), "amd64", "arm64")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	got, want := names(t.TempDir()), names(w.cache)
	if got != want || !strings.Contains(got, "kiln.example/kernel:demo") {
		t.Errorf("the images packed twice:\n%s\nwant:\n%s", got, want)
	}
}

// serve runs kiln edge until the test ends.
func (w *world) serve(t *testing.T) *url.URL {
	t.Helper()
	cmd := exec.Command(w.kiln, "edge", "--cache", w.cache, "--listen", "127.0.0.1:0")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("kiln edge, told to end: %v", err)
		}
	})
	listening := regexp.MustCompile(`msg=listening address=(\S+)`)
	found := make(chan string, 1)
	go func() { // until the edge ends, so that it never waits for its log to be read
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			if m := listening.FindStringSubmatch(scanner.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	select {
	case address := <-found:
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return u
	case <-time.After(30 * time.Second):
		t.Fatal("kiln edge said no address")
		return nil
	}
}

func cmdline(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(text))
}
