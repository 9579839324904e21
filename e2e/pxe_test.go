package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// room is a network namespace with a bridge, at which machines boot.
type room struct {
	t    *testing.T
	name string
	taps *int
}

const (
	roomAddress = "10.77.0.1"
	machineMAC  = "52:54:00:12:34:56"
)

// newRoom makes a room that goes with the test.
func newRoom(t *testing.T) *room {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces are root's to make")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed; `make test` installs it, or run: apt-get install --no-install-recommends iproute2")
	}
	r := &room{t: t, name: fmt.Sprintf("kroom%d", os.Getpid()), taps: new(int)}
	if out, err := exec.Command("ip", "netns", "add", r.name).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", r.name).CombinedOutput(); err != nil {
			t.Errorf("ip netns delete: %v %s", err, out)
		}
	})
	for _, c := range []string{"link set lo up", "link add br0 type bridge", "addr add " + roomAddress + "/24 dev br0", "link set br0 up"} {
		r.ip(c)
	}
	return r
}

func (r *room) ip(args string) {
	r.t.Helper()
	if out, err := exec.Command("ip", append([]string{"-n", r.name}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
		r.t.Fatalf("ip %s: %v %s", args, err, out)
	}
}

// in is a command inside the room.
func (r *room) in(command ...string) []string {
	return append([]string{"ip", "netns", "exec", r.name}, command...)
}

// tap makes a network device for a machine.
func (r *room) tap() string {
	*r.taps++
	tap := fmt.Sprintf("tap%d", *r.taps)
	r.ip("tuntap add " + tap + " mode tap")
	r.ip("link set " + tap + " master br0")
	r.ip("link set " + tap + " up")
	return tap
}

// start runs something in the room until the test ends, waits until its log holds the words, and returns the log's name.
func (r *room) start(until string, command ...string) string {
	r.t.Helper()
	log, _ := r.launch(until, command...)
	return log
}

// launch is start, and returns the process, too.
func (r *room) launch(until string, command ...string) (string, *os.Process) {
	r.t.Helper()
	log := filepath.Join(r.t.TempDir(), "log")
	out, err := os.Create(log)
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	args := r.in(command...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ends is not what this test is about
		if r.t.Failed() {
			text, _ := os.ReadFile(log)
			r.t.Logf("%s:\n%s", command[0], text)
		}
	})
	waitFor(r.t, log, until)
	return log, cmd.Process
}

// waitFor waits until a log holds the words.
func waitFor(t *testing.T, log, until string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err == nil && strings.Contains(string(text), until) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody said %q:\n%s", until, text)
		}
	}
}

// describe builds the example for machines of a room, and describes them.
func (w *world) describe(t *testing.T) {
	t.Helper()
	w.buildFile(t, "examples/machine.yml", "--arch", "amd64,arm64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo")
	if out, err := w.run(t.Context(), w.kiln, "apply", "--cache", w.cache, "--prune", "-f", "examples/machines.yml"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// configured is what a machine says that has its own configuration.
var configured = []string{"[onboot 000-configure] KILN-CONFIGURED demo-machine", "hello from the edge to demo-machine", "KILN-SERVICE-UP", "[init] power off after"}

// netboots are firmwares, each with what it is given to find.
var netboots = []struct {
	name  string
	arch  string
	quick bool
	not   string // what it says when it goes on to another way
	args  func(t *testing.T, tap string) []string
}{
	{"SeaBIOS with iPXE", "amd64", true, "", func(_ *testing.T, tap string) []string { return seabios(tap) }},
	{"OVMF PXE", "amd64", true, "Start HTTP Boot", func(t *testing.T, tap string) []string { return x86(ovmf(t, tap, "")...) }},
	{"OVMF HTTP boot", "amd64", false, "", func(t *testing.T, tap string) []string {
		return x86(append(ovmf(t, tap, ""), httpOnly...)...)
	}},
	{"AAVMF PXE", "arm64", false, "Start HTTP Boot", func(t *testing.T, tap string) []string { return aavmf(t, tap) }},
	{"AAVMF HTTP boot", "arm64", false, "", func(t *testing.T, tap string) []string { return append(aavmf(t, tap), httpOnly...) }},
}

// httpOnly has OVMF and AAVMF not wait for PXE first.
var httpOnly = []string{"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"}

func aavmf(t *testing.T, tap string) []string {
	return append([]string{"qemu-system-aarch64", "-accel", "tcg", "-machine", "virt,gic-version=3", "-cpu", "cortex-a57", "-m", "1024", "-nodefaults",
		"-display", "none", "-no-reboot", "-serial", "stdio"}, firmwareArgs(t, "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd", tap)...)
}

// seabios is a PC with an iPXE in its network card.
func seabios(tap string, more ...string) []string {
	return x86(append([]string{"-boot", "n", "-netdev", "tap,id=n0,ifname=" + tap + ",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,mac=" + machineMAC}, more...)...)
}

func ovmf(t *testing.T, tap, _ string) []string {
	return firmwareArgs(t, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", tap)
}

func firmwareArgs(t *testing.T, code, template, tap string) []string {
	t.Helper()
	vars := filepath.Join(t.TempDir(), "vars.fd")
	data, err := os.ReadFile(template)
	if err == nil {
		err = os.WriteFile(vars, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + code, "-drive", "if=pflash,format=raw,unit=1,file=" + vars, "-device", "virtio-rng-pci",
		"-netdev", "tap,id=n0,ifname=" + tap + ",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,mac=" + machineMAC + ",romfile=,bootindex=0"}
}

// TestMachinesBootFromTheNetwork: firmware, DHCP, TFTP and HTTP of a machine with nothing on it, to its own configuration.
func TestMachinesBootFromTheNetwork(t *testing.T) {
	w := prepared(t)
	r := newRoom(t)
	w.describe(t)
	r.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", "full")
	for _, c := range netboots {
		t.Run(c.name, func(t *testing.T) {
			if !c.quick {
				full(t)
			}
			needFirmware(t, c.arch)
			begun := time.Now()
			notBy(t, c.not, boot(t, r.in(c.args(t, r.tap())...), configured))
			w.timeline(t, begun)
		})
	}
}

// timeline checks that everything the machine did since then is told, also what it logged itself.
func (w *world) timeline(t *testing.T, begun time.Time) {
	t.Helper()
	var missing []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // events are told in a moment
		out, err := w.run(t.Context(), w.kiln, "machine", "boots", "--cache", w.cache, "demo-machine")
		if err != nil {
			t.Fatal(err)
		}
		var since string
		for line := range strings.Lines(out) {
			if at, err := time.ParseInLocation("2006-01-02 15:04:05.000", line[:min(len(line), 23)], time.Local); err == nil && !at.Before(begun.Truncate(time.Millisecond)) {
				since += line
			}
		}
		missing = nil
		stages := []string{" dhcp ", " config ", "configure: this is demo-machine"}
		switch { // a unified kernel image is all in one, and has no token to say that it is up with
		case strings.Contains(since, " script "):
			stages = append(stages, " kernel ", " initrd ", " up ")
		case strings.Contains(since, " tftp "):
			stages = append(stages, " tftp ")
		default:
			stages = append(stages, " kernel ")
		}
		for _, stage := range stages {
			if !strings.Contains(since, stage) {
				missing = append(missing, stage)
			}
		}
		if missing == nil {
			return
		}
	}
	t.Errorf("the timeline has no %q", missing)
}

// notBy checks that a machine did not boot by another way than the one that is tested.
func notBy(t *testing.T, way string, said []string) {
	t.Helper()
	if text := strings.Join(said, "\n"); way != "" && strings.Contains(text, way) {
		t.Errorf("the machine said %q before it booted:\n%s", way, text)
	}
}
