package linuxkit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
)

func TestName(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a path's base without its extension", []string{"dir/hello.yml"}, "hello"},
		{"the last of several", []string{"a.yml", "b.yaml"}, "b"},
		{"standard input is named as in LinuxKit", []string{"-"}, "moby"},
		{"a URL's base", []string{"https://example.org/x/sshd.yml?raw=1"}, "sshd"},
		{"a name without extension", []string{"box"}, "box"},
		{"only the last extension goes", []string{"platform.arm64.yml"}, "platform.arm64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Name(c.args); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func options(t *testing.T) (Options, *disk.Store) {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return Options{Stdin: strings.NewReader("init: [stdin]\n")}, dir
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLoadStoresTheSourcesOfFiles(t *testing.T) {
	opts, dir := options(t)
	t.Chdir(t.TempDir())
	write(t, "motd", "hello")
	home := t.TempDir()
	write(t, filepath.Join(home, "key"), "secret")
	write(t, "a.yml", "files:\n  - {path: etc/motd, source: motd}\n  - {path: etc/motd2, source: motd}\n  - {path: k, source: ~/key}\n  - {path: n, source: none, optional: true}\n")
	config, err := Load(context.Background(), []string{"a.yml", "-"}, opts)
	if err == nil {
		err = config.Gather(context.Background(), SourceOptions{Blobs: dir, Home: home})
	}
	if err != nil {
		t.Fatal(err)
	}
	bundle := config.Bundle
	if got := len(bundle.GetDocuments()); got != 2 {
		t.Fatalf("got %d documents, want 2", got)
	}
	want := map[string]string{"motd": "hello", "~/key": "secret", "none": ""}
	for _, s := range bundle.GetSources() {
		text, ok := want[s.GetPath()]
		delete(want, s.GetPath())
		if !ok || s.GetSize() != int64(len(text)) {
			t.Errorf("source %q of %d bytes, want %q", s.GetPath(), s.GetSize(), text)
		}
		if s.GetDigest() == "" {
			continue
		}
		d, err := cache.ParseDigest(s.GetDigest())
		if err != nil {
			t.Fatal(err)
		}
		f, err := dir.Open(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		f.Close()
		if err != nil || string(got) != text {
			t.Errorf("source %q holds %q (%v), want %q", s.GetPath(), got, err, text)
		}
	}
	if len(want) != 0 {
		t.Errorf("sources %v are not there", want)
	}
}

func TestLoadFetchesURLs(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x.yml" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "init: [web]\n")
	}))
	defer server.Close()
	opts, _ := options(t)
	config, err := Load(context.Background(), []string{server.URL + "/x.yml"}, opts)
	if err != nil || string(config.Bundle.GetDocuments()[0].GetYaml()) != "init: [web]\n" {
		t.Errorf("got %v, %v", config, err)
	}
	_, err = Load(context.Background(), []string{server.URL + "/y.yml"}, opts)
	if want := server.URL + "/y.yml: cannot be read: the server answers 404 Not Found"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	opts, dir := options(t)
	t.Chdir(t.TempDir())
	write(t, "gone.yml", "init: [a]\nfiles:\n  - path: x\n    source: gone\n")
	write(t, "more.yml", "files:\n  - {path: y, source: also-gone}\n  - {path: z, source: gone.yml}\n  - {path: p, source: pipe}\n")
	write(t, "folded.yml", "files:\n  - path: m\n    contents: >+\n      a\n\n\n  - path: x\n    source: gone\n")
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, "dir.yml", "files:\n  - path: x\n    source: .\n")
	write(t, "huge.yml", strings.Repeat("# x\n", maxDocument/4+1))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a missing document", []string{"none.yml"}, "none.yml: cannot be read: no such file or directory"},
		{"a directory", []string{"."}, ".: cannot be read: it is a directory"},
		{"no document", nil, "kiln: no YAML file was given; name at least one, such as \"kiln build hello.yml\""},
		{"a document too large", []string{"huge.yml"}, "huge.yml: is larger than 4 MiB: is this a LinuxKit YAML?"},
		{"a missing source", []string{"gone.yml"}, "gone.yml:4: source \"gone\" does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\""},
		{"all missing sources at once", []string{"gone.yml", "more.yml"}, strings.Join([]string{
			"gone.yml:4: source \"gone\" does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\"",
			"more.yml:2: source \"also-gone\" does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\"",
			"more.yml:4: source \"pipe\" cannot be read: it is a named pipe, and only regular files are read; name a file with its contents",
		}, "\n")},
		{"a missing source behind a text that LinuxKit writes anew", []string{"folded.yml"}, "folded.yml:8: source \"gone\" does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\""},
		{"a source that is a directory", []string{"dir.yml"}, "dir.yml:3: source \".\" cannot be read: it is a directory"},
		{"standard input twice", []string{"-", "-"}, "-: standard input can be read once only: name \"-\" once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := Load(context.Background(), c.args, opts)
			if err == nil {
				err = config.Gather(context.Background(), SourceOptions{Blobs: dir})
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if !errors.Is(err, ErrInput) {
				t.Error("the error is not ErrInput")
			}
		})
	}
}
