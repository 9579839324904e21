package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cli/ui"
)

// waited is longer than any command here takes that does not wait for a file.
const waited = 20 * time.Second

// within fails the test when f does not come back.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(waited):
		t.Fatal("the command waits for a file")
	}
}

func TestWhatIsNoRegularFileIsRefusedWhereverItIsNamed(t *testing.T) {
	w := newWorld(t)
	check(t, syscall.Mkfifo("pipe", 0o600))
	l, err := net.Listen("unix", "socket")
	check(t, err)
	defer l.Close()
	w.selfSigned("mine")
	for _, kind := range []struct{ path, said string }{{"pipe", "is a named pipe"}, {"socket", "is a socket"}, {os.DevNull, "is a device"}} {
		check(t, os.RemoveAll("room"))
		check(t, os.MkdirAll("room", 0o755))
		w.write("source.yml", "files:\n  - {path: etc/a, source: "+kind.path+"}\n")
		check(t, os.Symlink(must(filepath.Abs(kind.path)), "room/machines.yml"))
		for name, text := range map[string]string{
			"kernel": "releases:\n  - {name: r, platforms: {linux/amd64: {kernel: it}}}\n",
			"data":   "machines:\n  - {name: m, mac: 52:54:00:12:34:56, secrets: {s: {file: it}}}\n",
		} {
			w.write(name+"/x.yml", text)
			_ = os.Remove(name + "/it")
			check(t, os.Symlink(must(filepath.Abs(kind.path)), name+"/it"))
		}
		for _, command := range []string{
			"build PATH",
			"build source.yml",
			"lock PATH",
			"build --lock PATH hello.yml",
			"build --sign-key PATH --sign-cert mine.crt hello.yml",
			"build --sign-key mine.key --sign-cert PATH hello.yml",
			"build --farm https://127.0.0.1:1 --credentials PATH hello.yml",
			"cache import PATH",
			"apply -f PATH",
			"apply -f room",
			"apply -f kernel/x.yml",
			"apply -f data/x.yml",
			"run PATH",
			"subnet import PATH",
			"farm restore --yes --farm http://127.0.0.1:1 PATH",
			"login https://127.0.0.1:1 --token-file PATH",
		} {
			t.Run(command+" of what "+kind.said, func(t *testing.T) {
				within(t, func() {
					got := w.run(strings.Fields(strings.ReplaceAll(command, "PATH", kind.path))...)
					if got.code == ui.ExitDone || !strings.Contains(got.stderr, kind.said) {
						t.Errorf("exit code %d, want the sentence %q; standard error:\n%s", got.code, kind.said, got.stderr)
					}
				})
			})
		}
	}
}

func TestAShellsPipesTakeThePlaceOfFiles(t *testing.T) {
	w := newWorld(t)
	w.run("lock", "--arch", "amd64", "--mirror", "docker.io="+w.registry, "hello.yml").ok(t)
	for _, c := range []struct {
		name, file string
		args       []string
	}{
		{"a YAML", "hello.yml", []string{"--format", "tar", "PIPE"}},
		{"a lock", "hello.lock", []string{"--format", "tar", "--lock", "PIPE", "hello.yml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, in, err := os.Pipe()
			check(t, err)
			defer r.Close()
			go func() {
				defer in.Close()
				in.Write(must(os.ReadFile(c.file)))
			}()
			args := strings.Split(strings.ReplaceAll(strings.Join(c.args, "\n"), "PIPE", fmt.Sprintf("/dev/fd/%d", r.Fd())), "\n")
			within(t, func() { w.build(args...).ok(t) })
		})
	}
}

func TestACommandThatReadsHearsSignals(t *testing.T) {
	w := newWorld(t)
	r, in, err := os.Pipe()
	check(t, err)
	defer r.Close()
	defer in.Close() // its writer stays, and is silent
	check(t, syscall.Mkfifo("pipe", 0o600))
	for _, command := range []string{
		"build -", "build PIPE", "build --lock PIPE hello.yml", "cache import -", "cache import PIPE", "apply -f PIPE",
		"login https://127.0.0.1:1 --token-file -", "login https://127.0.0.1:1 --token-file PIPE",
		"build --farm https://127.0.0.1:1 --credentials PIPE hello.yml",
		"build --format tar -o pipe hello.yml", "build --format tar --metadata-file pipe hello.yml",
	} {
		t.Run(command, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stdout bytes.Buffer
			stderr := &lines{ready: make(chan string, 8)}
			env := ui.Env{Stdin: r, Stdout: &stdout, Stderr: stderr, Getenv: func(name string) string {
				return map[string]string{"HOME": w.dir}[name]
			}}
			time.AfterFunc(2*time.Second, cancel)
			args := strings.Fields(strings.ReplaceAll(command, "PIPE", fmt.Sprintf("/dev/fd/%d", r.Fd())))
			if args[0] == "build" {
				args = append(args, "--arch", "amd64", "--mirror", "docker.io="+w.registry)
			}
			within(t, func() {
				if code := Main(ctx, env, args); code != ui.ExitFailed {
					t.Errorf("exit code %d, want %d; standard error:\n%s", code, ui.ExitFailed, stderr.text())
				}
			})
		})
	}
}
