package userfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soon is far longer than anything here takes that does not wait for ever.
const soon = 10 * time.Second

// promptly fails the test when f does not come back.
func promptly(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(soon):
		t.Fatal("it waits")
	}
}

// kinds makes one file of each kind that is not read, and gives their names by what they are.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe", link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // a socket's name is short
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return map[string]string{pipe: "a named pipe", link: "a named pipe", filepath.Join(dir, "socket"): "a socket", os.DevNull: "a device", dir: "a directory"}
}

func TestWhatIsNoRegularFileIsRefusedAtOnce(t *testing.T) {
	for path, what := range kinds(t) {
		for name, open := range map[string]func() (io.Closer, error){
			"Open":         func() (io.Closer, error) { return Open(path) },
			"OpenNoFollow": func() (io.Closer, error) { return OpenNoFollow(path) },
			"OpenStream":   func() (io.Closer, error) { return OpenStream(context.Background(), path) },
			"Read":         func() (io.Closer, error) { _, err := Read(context.Background(), path, 10); return nil, err },
			"FS": func() (io.Closer, error) {
				return FS("/").Open(strings.TrimPrefix(path, "/"))
			},
		} {
			if name == "FS" && what == "a directory" {
				continue
			}
			t.Run(name+" of "+what, func(t *testing.T) {
				promptly(t, func() {
					_, err := open()
					var pathErr *fs.PathError
					if !errors.Is(err, ErrNotRegular) || !errors.As(err, &pathErr) {
						t.Fatalf("got error %v, want one of a path that is not a regular file", err)
					}
					want := "it is " + what
					if name == "OpenNoFollow" && filepath.Base(path) == "link" {
						want = "it is a symbolic link"
					}
					if got := pathErr.Err.Error(); !strings.HasPrefix(got, want) {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			})
		}
	}
}

func TestRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(context.Background(), path, 8); err != nil || string(got) != "contents" {
		t.Errorf("Read: got %q, %v", got, err)
	}
	if _, err := Read(context.Background(), path, 7); err == nil || !strings.Contains(err.Error(), "it is larger than") {
		t.Errorf("Read of more than it may have: got %v", err)
	}
	if got, err := fs.ReadFile(FS(dir), "file"); err != nil || string(got) != "contents" {
		t.Errorf("FS: got %q, %v", got, err)
	}
	if entries, err := fs.ReadDir(FS(dir), "."); err != nil || len(entries) != 1 {
		t.Errorf("FS: got %v, %v", entries, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Read(ctx, path, 8); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with an ended context: got %v", err)
	}
}

func TestAShellsPipesAreReadAndLetGo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	name := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if _, err := w.WriteString("init: []"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := OpenStream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got := make([]byte, 8)
	if _, err := io.ReadFull(stream, got); err != nil || string(got) != "init: []" {
		t.Fatalf("got %q, %v", got, err)
	}
	promptly(t, func() { // its writer is still there and silent
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := stream.Read(got); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want an error of the context", err)
		}
	})
}

func TestANamedPipeAsStandardInputWhoseWriterIsGoneIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	out.Close()
	promptly(t, func() {
		got, err := Read(context.Background(), fmt.Sprintf("/dev/fd/%d", in.Fd()), 10)
		if err != nil || string(got) != "x" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestReadsOfAnythingEndWithTheirContext(t *testing.T) {
	silent, in := io.Pipe()
	defer in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	promptly(t, func() {
		if _, err := io.ReadAll(Interruptible(ctx, silent)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error of the context", err)
		}
	})
	r := Interruptible(context.Background(), strings.NewReader("all of it"))
	if got, err := io.ReadAll(r); err != nil || string(got) != "all of it" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOutputs(t *testing.T) {
	files := kinds(t)
	pipe := ""
	for path := range files {
		if filepath.Base(path) == "pipe" {
			pipe = path
		}
	}
	t.Run("a pipe without a reader is waited for until the context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		promptly(t, func() {
			if _, err := Output(ctx, pipe); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("and for so long", func(t *testing.T) {
		promptly(t, func() {
			if _, err := openOutput(context.Background(), pipe, 0); err == nil || !strings.Contains(err.Error(), "that nobody reads") {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("a pipe takes what its reader takes, and a write ends with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		reader := make(chan *os.File, 1)
		go func() {
			f, err := os.Open(pipe)
			if err != nil {
				t.Error(err)
			}
			reader <- f
		}()
		promptly(t, func() {
			out, err := Output(ctx, pipe)
			if err != nil {
				t.Error(err)
				return
			}
			defer out.Close()
			if _, err := out.Write([]byte("hello")); err != nil {
				t.Error(err)
			}
			in := <-reader
			defer in.Close()
			got := make([]byte, 5)
			if _, err := io.ReadFull(in, got); err != nil || string(got) != "hello" {
				t.Errorf("got %q, %v", got, err)
			}
			time.AfterFunc(50*time.Millisecond, cancel)
			if _, err := out.Write(make([]byte, 8<<20)); !errors.Is(err, context.Canceled) { // more than a pipe holds
				t.Errorf("got %v, want an error of the context", err)
			}
		})
	})
	t.Run("a device", func(t *testing.T) {
		out, err := Output(context.Background(), os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a socket is refused", func(t *testing.T) {
		if _, err := Output(context.Background(), "socket"); !errors.Is(err, ErrNotRegular) {
			t.Errorf("got %v", err)
		}
	})
}
