package cli

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiln-farm/kiln/cli/ui"
)

// startServer runs kiln server until the test ends and returns its URL.
func (w *world) startServer(t *testing.T, data string, flags ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	log := &lines{ready: make(chan string, 1)}
	done := make(chan int, 1)
	env := ui.Env{Stdin: strings.NewReader(""), Stdout: log, Stderr: log, Getenv: func(string) string { return "" }}
	go func() {
		done <- Main(ctx, env, append([]string{"server", "--data", data, "--listen", "127.0.0.1:0"}, flags...))
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != ui.ExitDone {
			t.Errorf("kiln server ended with %d:\n%s", code, log.text())
		}
	})
	select {
	case address := <-log.ready:
		return address
	case code := <-done:
		done <- code
		t.Fatalf("kiln server did not start:\n%s", log.text())
		return ""
	}
}

// lines is a log that says when the server listens.
type lines struct {
	mu    sync.Mutex
	b     bytes.Buffer
	ready chan string
}

var listening = regexp.MustCompile(`msg=(?:listening address|ready builder)=(\S+)`)

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := listening.FindSubmatch(p); m != nil {
		l.ready <- string(m[1])
	}
	return l.b.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAFarmGivesTheSameAsABuildInOneProcess(t *testing.T) {
	w := newWorld(t)
	w.write("data.txt", strings.Repeat("a file of the client\n", 10000))
	w.write("hello.yml", helloYAML+"files:\n  - path: etc/data\n    source: data.txt\n")
	w.build("--arch", "amd64,arm64", "--format", "tar,kernel+initrd", "--dir", "here", "hello.yml").ok(t)
	farm := w.startServer(t, filepath.Join(w.dir, "server"))
	w.build("--farm", farm, "--cache", "client", "--arch", "amd64,arm64", "--format", "tar,kernel+initrd", "--dir", "there", "hello.yml").ok(t)
	files := names(t, "here")
	if len(files) != 8 {
		t.Errorf("files %v, want 8", files)
	}
	for _, file := range files {
		if read(t, filepath.Join("here", file)) != read(t, filepath.Join("there", file)) {
			t.Errorf("%s differs", file)
		}
	}
	again := w.build("--farm", farm, "--cache", "client", "--arch", "amd64,arm64", "--format", "tar,kernel+initrd", "--dir", "there", "hello.yml").ok(t)
	if !strings.Contains(again.stderr, "nothing had to run") {
		t.Errorf("the second build on the farm ran something:\n%s", again.stderr)
	}
	if got := w.run("explain", "--farm", farm, "last").ok(t).stdout; !strings.Contains(got, "compared with") {
		t.Errorf("the explanation does not compare:\n%s", got)
	}
}

func TestAFarmLocksAsOneProcessDoes(t *testing.T) {
	w := newWorld(t)
	farm := w.startServer(t, filepath.Join(w.dir, "server"))
	args := []string{"lock", "--arch", "amd64,arm64", "--mirror", w.registry, "hello.yml"}
	w.run(args...).ok(t)
	want := read(t, "hello.lock")
	w.run(append(args, "--farm", farm, "--cache", "client", "--lock", "there.lock")...).ok(t)
	if got := read(t, "there.lock"); got != want {
		t.Errorf("the farm's lock is %s\nwant %s", got, want)
	}
	w.build("--farm", farm, "--lock", "there.lock", "--format", "tar", "hello.yml").ok(t)
	w.write("gone.yml", strings.Replace(helloYAML, "lab/web:1", "lab/gone:1", 1))
	failed := w.run("lock", "--farm", farm, "--mirror", w.registry, "gone.yml")
	if failed.code != ui.ExitFailed || !strings.Contains(failed.stderr, "lab/gone:1") {
		t.Errorf("exit code %d and %q; want %d and the name of the image", failed.code, failed.stderr, ui.ExitFailed)
	}
	if _, err := os.Stat("gone.lock"); err == nil {
		t.Error("a lock file was left behind")
	}
}

func TestAServerRemembersItsBuildsAfterARestart(t *testing.T) {
	w := newWorld(t)
	data := filepath.Join(w.dir, "server")
	t.Run("first life", func(t *testing.T) {
		w.build("--farm", w.startServer(t, data), "--format", "tar", "hello.yml").ok(t)
	})
	farm := w.startServer(t, data)
	if got := w.run("explain", "--farm", farm, "last").ok(t).stdout; !strings.HasPrefix(got, "hello ") {
		t.Errorf("explanation %q", got)
	}
	if got := w.build("--farm", farm, "--format", "tar", "hello.yml").ok(t); !strings.Contains(got.stderr, "nothing had to run") {
		t.Errorf("the build after the restart ran something:\n%s", got.stderr)
	}
}

// proxy is a proxy in front of a farm that changes what it answers to GETs of blobs.
func (w *world) proxy(farm string, change func(n int64, resp *http.Response)) string {
	w.t.Helper()
	target := must(url.Parse(farm))
	var n atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.Request.Method == http.MethodGet && strings.HasPrefix(resp.Request.URL.Path, "/v1/blobs/") {
			change(n.Add(1), resp)
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	w.t.Cleanup(server.Close)
	return server.URL
}

func TestAFarmThatSendsOtherBytesIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	farm := w.proxy(w.startServer(t, filepath.Join(w.dir, "server")), func(_ int64, resp *http.Response) {
		resp.Body = &flipping{resp.Body}
	})
	got := w.build("--farm", farm, "--cache", "client", "--format", "tar", "--dir", "out", "hello.yml")
	if got.code != ui.ExitFailed || !strings.Contains(got.last(), "sent other bytes") {
		t.Errorf("exit code %d and %q", got.code, got.last())
	}
	if _, err := os.Stat("out"); err == nil && len(names(t, "out")) > 0 {
		t.Errorf("files were left: %v", names(t, "out"))
	}
}

func TestABlobThatIsLostWhileOutputsAreWrittenIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	data := filepath.Join(w.dir, "server")
	farm := w.proxy(w.startServer(t, data), func(n int64, resp *http.Response) {
		if n > 1 {
			return
		}
		check(w.t, removeBlobs(filepath.Join(data, "cache", "blobs")))
		resp.StatusCode, resp.Status = http.StatusNotFound, "404 Not Found"
	})
	got := w.build("--farm", farm, "--cache", "client", "--format", "tar", "hello.yml").ok(t)
	if strings.Count(got.stderr, "resolve references") != 2 {
		t.Errorf("the build was not submitted twice:\n%s", got.stderr)
	}
}

func removeBlobs(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			return os.Remove(path)
		}
		return err
	})
}

// flipping changes every byte.
type flipping struct {
	body interface {
		Read([]byte) (int, error)
		Close() error
	}
}

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	for i := range p[:n] {
		p[i] ^= 1
	}
	return n, err
}

func (f *flipping) Close() error { return f.body.Close() }
