package e2e

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAMachineThatIsRefusedAsksAgain: an edge that takes one transfer at a time gives it to somebody who is slow. A real iPXE is
// told to come again (503 with Retry-After), does so by itself, and boots when it is its turn.
func TestAMachineThatIsRefusedAsksAgain(t *testing.T) {
	full(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed; run: apt-get install --no-install-recommends curl")
	}
	w := prepared(t)
	r := newRoom(t)
	w.describe(t)
	log := r.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", "full", "--http-transfers", "1")
	args := r.in("curl", "-sS", "--limit-rate", "20k", "-o", os.DevNull, "http://"+roomAddress+":7380/builds/default/machine/amd64/machine-initrd.img")
	slow := exec.Command(args[0], args[1:]...)
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = slow.Process.Signal(syscall.SIGTERM)
		_ = slow.Wait() // it was told to end
	})
	refused := make(chan bool, 1)
	go func() { // the slow one leaves when the machine was refused twice
		for end := time.Now().Add(bootLimit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if text, err := os.ReadFile(log); err == nil && strings.Count(string(text), "status=503") >= 2 {
				_ = slow.Process.Signal(syscall.SIGTERM)
				refused <- true
				return
			}
		}
		refused <- false
	}()
	needFirmware(t, "amd64")
	boot(t, r.in(seabios(r.tap())...), configured)
	if !<-refused {
		t.Error("the machine was not refused, so it had not to ask again")
	}
}
