package e2e

import (
	"bufio"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// milestones are what a machine that boots the example says, in this order.
func milestones(arch string) []string {
	return []string{
		"[init] up after",
		"[onboot 000-facts] KILN-ONBOOT-DONE",
		"[service hello] KILN-SERVICE-UP hello from " + arch,
		"[init] shutting down",
		"[onshutdown 000-goodbye] KILN-GOODBYE",
		"[init] power off after",
	}
}

// x86 is a machine with a serial console. It never uses KVM: a machine under a hypervisor may offer one that hangs.
func x86(args ...string) []string {
	return append([]string{"qemu-system-x86_64", "-accel", "tcg", "-machine", "q35,graphics=off", "-cpu", "max", "-m", "1024",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"}, args...)
}

// boot runs a machine to its end, and checks and returns what it said.
func boot(t *testing.T, machine, want []string) (said []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, machine[0], machine[1:]...)
	serial, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	escapes := regexp.MustCompile("\x1b[^A-Za-z]*[A-Za-z]|\r")
	for scanner := bufio.NewScanner(serial); scanner.Scan(); {
		said = append(said, escapes.ReplaceAllString(scanner.Text(), ""))
	}
	err = cmd.Wait()
	next := 0
	for _, line := range said {
		if next < len(want) && strings.Contains(line, want[next]) {
			next++
		}
	}
	if next < len(want) || err != nil {
		missing := "nothing is missing"
		if next < len(want) {
			missing = "missing: " + want[next]
		}
		t.Errorf("%s; QEMU ended with %v %s; the machine said:\n%s", missing, err, stderr.String(), strings.Join(said, "\n"))
	}
	return said
}
