package disktest

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"
)

// startTimeout is for a machine without hardware acceleration beside other tests.
const startTimeout = 90 * time.Second

// escapes are what moves the cursor of a terminal, which a BIOS does in the midst of words.
var escapes = regexp.MustCompile("\r?\x1b\\[[0-9;?]*[A-Za-z]")

// Start starts a machine from a disk and ends it when it says the marker on its serial line. It starts by its BIOS, if the
// arguments do not say otherwise. It has no screen, so the BIOS writes what is for it to the serial line; boot loaders that
// write there, too, would write in the midst of that. Choose a marker without spaces, which may become moves of the cursor. Without
// QEMU the test is skipped.
func Start(t testing.TB, disk, marker string, args ...string) {
	t.Helper()
	Need(t, "qemu-system-x86_64")
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	out := &watch{marker: []byte(marker), found: cancel}
	cmd := exec.CommandContext(ctx, find("qemu-system-x86_64"), append([]string{
		"-accel", "tcg", "-machine", "q35,graphics=off", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-drive", "file=" + disk + ",format=raw,if=none,id=disk", "-device", "ide-hd,drive=disk,bus=ide.0",
	}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	out.mu.Lock()
	defer out.mu.Unlock()
	if !out.seen {
		t.Errorf("the machine never said %q (%v): %q", marker, err, out.text.Bytes())
	}
}

// watch gathers what a machine says and ends it at the marker.
type watch struct {
	marker []byte
	found  func()

	mu   sync.Mutex
	text bytes.Buffer
	seen bool
}

func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if !w.seen && bytes.Contains(escapes.ReplaceAll(w.text.Bytes(), nil), w.marker) {
		w.seen = true
		w.found()
	}
	return len(p), nil
}
