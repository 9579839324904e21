package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRun tries what `kiln run` promises of every kind of image: a port of the machine at a port of this host, metadata, a
// disk for state, the serial console in a file. The machine's own web server tells what it was given.
func TestRun(t *testing.T) {
	w := prepared(t)
	for _, c := range []struct {
		format, suffix, arch string
		quick                bool
	}{
		{"kernel+initrd", "", "amd64", true},
		{"kernel+initrd", "-kernel", "arm64", false},
		{"raw-bios", "-bios.img", "amd64", false},
		{"qcow2-efi", "-efi.qcow2", "amd64", false},
		{"raw-efi", "-efi.img", "arm64", false},
		{"iso-bios", ".iso", "amd64", false},
		{"iso-efi-initrd", "-efi-initrd.iso", "arm64", false},
		{"uki", ".efi", "amd64", false},
		{"gcp", ".img.tar.gz", "amd64", false},
		{"tar-kernel-initrd", "-initrd.tar", "arm64", false},
		{"oci", "-oci.tar", "amd64", false},
		{"raw-efi-verity", "-verity.img", "amd64", false},
	} {
		t.Run(c.format+" "+c.arch, func(t *testing.T) {
			if !c.quick {
				full(t)
			}
			needFirmware(t, c.arch)
			dir := w.buildFile(t, "examples/web.yml", append([]string{"--arch", c.arch, "--format", c.format}, loaders...)...)
			port := freePort(t)
			serial, state := filepath.Join(dir, "serial.log"), filepath.Join(dir, "state.img")
			m := w.startRun(t, "--accel", "tcg", "--publish", port+":80", "--data", `{"hello": "guest"}`, "--state", state, "--state-size", "48M",
				"--serial", "file:"+serial, filepath.Join(dir, "web"+c.suffix))
			if got, want := m.get(t, "http://127.0.0.1:"+port+"/told", serial), `{"hello": "guest"}`; got != want {
				t.Errorf("the machine was told %q, want %q", got, want)
			}
			if got, want := m.get(t, "http://127.0.0.1:"+port+"/machine", serial), machineNames[c.arch]; strings.TrimSpace(got) != want {
				t.Errorf("it is a %q, want %q", got, want)
			}
			if got := m.get(t, "http://127.0.0.1:"+port+"/disks", serial); !strings.Contains(got, " 49152 vd") { // KiB
				t.Errorf("it has no disk of 48 MiB:\n%s", got)
			}
			m.end(t)
			if said := read(t, serial); !bytes.Contains(said, []byte("KILN-WEB-UP "+machineNames[c.arch])) {
				t.Errorf("its console said:\n%s", said)
			}
			if info, err := os.Stat(state); err != nil || info.Size() != 48<<20 {
				t.Errorf("the disk for state: %v, %v", info, err)
			}
		})
	}
}

// runMachine is a `kiln run` that goes on.
type runMachine struct {
	stop func()
	done chan struct{}
	out  bytes.Buffer
	err  error
	tmp  string // where it keeps its files
}

// startRun starts a machine, which ends with the test.
func (w *world) startRun(t *testing.T, args ...string) *runMachine {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &runMachine{stop: cancel, done: make(chan struct{}), tmp: t.TempDir()}
	cmd := exec.CommandContext(ctx, w.kiln, append([]string{"run"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+m.tmp)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * endLimit
	cmd.Stdout, cmd.Stderr = &m.out, &m.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		m.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-m.done
	})
	return m
}

// get asks until there is an answer.
func (m *runMachine) get(t *testing.T, url, serial string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(bootLimit); ; time.Sleep(200 * time.Millisecond) {
		answer, err := client.Get(url)
		if err == nil {
			text, readErr := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err = readErr; err == nil && answer.StatusCode == http.StatusOK {
				return string(text)
			}
			err = errors.Join(err, fmt.Errorf("it answers %s", answer.Status))
		}
		select {
		case <-m.done:
			t.Fatalf("the machine ended: %v\n%s", m.err, m.out.String())
		default:
		}
		if time.Now().After(end) {
			said, _ := os.ReadFile(serial) // for the message alone
			t.Fatalf("%s: %v\n%s", url, err, said)
		}
	}
}

// end stops the machine as Ctrl-C does, and looks for leavings.
func (m *runMachine) end(t *testing.T) {
	t.Helper()
	m.stop()
	<-m.done
	if left, err := os.ReadDir(m.tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
