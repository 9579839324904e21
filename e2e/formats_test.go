package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The images that formats boot with, as examples/images/build.sh makes them.
var loaders = []string{"--boot", "kiln.example/boot:demo", "--initrd", "kiln.example/root:demo"}

// bootable are the formats that a machine boots by itself, the file of each, and whether it is one of those that are
// quick: one for each firmware.
var bootable = []struct {
	format, suffix, arch string
	quick                bool
}{
	{"raw-bios", "-bios.img", "amd64", true},
	{"raw-efi", "-efi.img", "amd64", true},
	{"qcow2-bios", ".qcow2", "amd64", false},
	{"qcow2-efi", "-efi.qcow2", "amd64", false},
	{"aws", ".raw", "amd64", false},
	{"gcp", ".img.tar.gz", "amd64", false},
	{"vhd", ".vhd", "amd64", false},
	{"dynamic-vhd", ".vhd", "amd64", false},
	{"vmdk", ".vmdk", "amd64", false},
	{"iso-bios", ".iso", "amd64", false},
	{"iso-efi", "-efi.iso", "amd64", false},
	{"iso-efi-initrd", "-efi-initrd.iso", "amd64", false},
	{"raw-efi-verity", "-verity.img", "amd64", false},
	{"uki", ".efi", "amd64", false},
	{"raw-efi", "-efi.img", "arm64", true},
	{"uki", ".efi", "arm64", false},
	{"qcow2-efi", "-efi.qcow2", "arm64", false},
	{"iso-efi", "-efi.iso", "arm64", false},
	{"iso-efi-initrd", "-efi-initrd.iso", "arm64", false},
	{"raw-efi-verity", "-verity.img", "arm64", false},
}

// machineNames are what the example's service says of the architecture.
var machineNames = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

func TestFormatsBoot(t *testing.T) {
	w := prepared(t)
	for _, c := range bootable {
		t.Run(c.format+" "+c.arch, func(t *testing.T) {
			if !c.quick {
				full(t)
			}
			needFirmware(t, c.arch)
			dir := w.build(t, append([]string{"--arch", c.arch, "--format", c.format}, loaders...)...)
			file := filepath.Join(dir, "hello"+c.suffix)
			if c.format == "gcp" { // which takes the disk out of the archive
				if out, err := exec.Command("tar", "-C", dir, "-xzf", file, "disk.raw").CombinedOutput(); err != nil {
					t.Fatalf("tar: %v\n%s", err, out)
				}
				file = filepath.Join(dir, "disk.raw")
			}
			boot(t, []string{w.kiln, "run", "--accel", "tcg", file}, milestones(machineNames[c.arch]))
		})
	}
}

// needFirmware skips when there is nothing to boot machines of arch with.
func needFirmware(t *testing.T, arch string) {
	t.Helper()
	for _, f := range map[string][][2]string{
		"amd64": {{"/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"}},
		"arm64": {{"/usr/share/AAVMF/AAVMF_CODE.fd", "qemu-efi-aarch64"}, {"/usr/bin/qemu-system-aarch64", "qemu-system-arm"}},
	}[arch] {
		if _, err := os.Stat(f[0]); err != nil {
			t.Skipf("%s is not there; `make test` installs it, or run: apt-get install --no-install-recommends %s", f[0], f[1])
		}
	}
}

// TestRootFileSystemsBoot starts the kernel with the root filesystem as a disk, and an initrd that mounts it: the example's
// kernel has no such file system built in.
func TestRootFileSystemsBoot(t *testing.T) {
	full(t)
	w := prepared(t)
	initrd := filepath.Join(t.TempDir(), "root.yml")
	if err := os.WriteFile(initrd, []byte("init:\n  - kiln.example/root:demo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		root := w.buildFile(t, initrd, "--arch", arch, "--no-sbom")
		for _, format := range []string{"kernel+squashfs", "kernel+erofs", "kernel+iso"} {
			t.Run(format+" "+arch, func(t *testing.T) {
				needFirmware(t, arch)
				dir := w.build(t, "--arch", arch, "--format", format)
				boot(t, []string{w.kiln, "run", "--accel", "tcg", "--initrd", filepath.Join(root, "root-initrd.img"), filepath.Join(dir, "hello")}, milestones(machineNames[arch]))
			})
		}
	}
}

// TestAVerifiedRootRefusesAChangedBlock flips one bit of the root partition.
func TestAVerifiedRootRefusesAChangedBlock(t *testing.T) {
	full(t)
	w := prepared(t)
	dir := w.build(t, append([]string{"--arch", "amd64", "--format", "raw-efi-verity"}, loaders...)...)
	file := filepath.Join(dir, "hello-verity.img")
	disk, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(disk, []byte("KILN-SERVICE-UP")) // in the service's script, which is on the disk as it is
	if at < 0 {
		t.Fatal("the service's script is not on the disk")
	}
	disk[at] ^= 1
	if err := os.WriteFile(file, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	said := machineSays(t, []string{w.kiln, "run", "--accel", "tcg", file})
	if strings.Contains(said, "SERVICE-UP") || !strings.Contains(said, "verity") && !strings.Contains(said, "I/O error") {
		t.Errorf("the machine did not refuse the block:\n%s", said)
	}
}

// Firmware that starts only what is signed by the key that Debian makes for tests.
const (
	secureCode = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	secureVars = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"
	secureCert = "/usr/share/ovmf/PkKek-1-snakeoil.pem"
)

// secureQEMU keeps the firmware's variables from whatever it starts.
var secureQEMU = []string{"-machine", "q35,smm=on,graphics=off", "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"}

// secureKey is the key that the firmware trusts, or skips.
func secureKey(t *testing.T) string {
	t.Helper()
	const locked = "/usr/share/ovmf/PkKek-1-snakeoil.key"
	for _, file := range []string{secureCode, secureVars, locked, secureCert} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%s is not there; `make test` installs it, or run: apt-get install --no-install-recommends ovmf", file)
		}
	}
	key := filepath.Join(t.TempDir(), "snakeoil.key")
	if out, err := exec.Command("openssl", "rsa", "-in", locked, "-passin", "pass:snakeoil", "-out", key).CombinedOutput(); err != nil {
		t.Skipf("openssl cannot read the key of Debian's OVMF: %v %s", err, out)
	}
	return key
}

// TestSecureBoot boots a signed image with firmware that takes no other, and sees the unsigned one refused.
func TestSecureBoot(t *testing.T) {
	w := prepared(t)
	plain := secureKey(t)
	machine := func(file string) []string {
		args := []string{w.kiln, "run", "--accel", "tcg", "--firmware", secureCode, "--firmware-vars", secureVars}
		for _, word := range secureQEMU {
			args = append(args, "--qemu="+word)
		}
		return append(args, file)
	}
	for _, c := range []struct {
		name string
		sign []string
		want bool
	}{
		{"signed by a key", []string{"--sign-key", plain, "--sign-cert", secureCert}, true},
		{"signed by a program", []string{"--signer", "openssl pkeyutl -sign -inkey " + plain + " -pkeyopt digest:sha256", "--sign-cert", secureCert}, true},
		{"unsigned", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "signed by a program" {
				full(t)
			}
			out := w.build(t, append(append([]string{"--arch", "amd64", "--format", "uki,raw-efi"}, loaders...), c.sign...)...)
			file := filepath.Join(out, "hello-efi.img")
			if c.want {
				if text, err := exec.Command("sbverify", "--cert", secureCert, filepath.Join(out, "hello.efi")).CombinedOutput(); err != nil {
					t.Errorf("sbverify: %v\n%s", err, text)
				}
				boot(t, machine(file), milestones("x86_64"))
				return
			}
			said := machineSays(t, append(machine(file)[:2:2], append([]string{"--qemu=-boot", "--qemu=menu=off"}, machine(file)[2:]...)...), "Access Denied", "Security Violation")
			if strings.Contains(said, "SERVICE-UP") {
				t.Errorf("firmware with Secure Boot started an unsigned image:\n%s", said)
			}
		})
	}
}

// machineSays runs a machine until it ends, or has said one of the words, and returns what it said.
func machineSays(t *testing.T, machine []string, until ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, machine[0], machine[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = endLimit // QEMU 7.2 may hang when it is told to end while firmware writes to the console
	said := &untilWriter{words: until, found: cancel}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	if len(until) > 0 && !said.seen {
		t.Errorf("the machine ended (%v) and said none of %q:\n%s", err, until, said.text.String())
	}
	return said.text.String()
}

// untilWriter calls found when one of the words has been written.
type untilWriter struct {
	text  bytes.Buffer
	words []string
	found func()
	seen  bool
}

func (u *untilWriter) Write(p []byte) (int, error) {
	u.text.Write(p)
	for _, word := range u.words {
		if !u.seen && bytes.Contains(u.text.Bytes(), []byte(word)) {
			u.seen = true
			u.found()
		}
	}
	return len(p), nil
}

// TestAnOutputThatDoesNotFit: the sentence names the size, and nothing is written.
func TestAnOutputThatDoesNotFit(t *testing.T) {
	w := prepared(t)
	for _, format := range []string{"raw-efi", "raw-bios", "qcow2-efi", "vhd"} {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
		defer cancel()
		args := append([]string{"build", "--cache", w.cache, "--progress", "plain", "--arch", "amd64", "--disk-size", "8M", "--format", format, "--dir", dir}, loaders...)
		out, err := w.run(ctx, w.kiln, append(args, "examples/hello.yml")...)
		last := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
		if err == nil || !strings.Contains(last, "kiln: ") || !strings.Contains(last, "a disk of 8388608 bytes is too small") {
			t.Errorf("%s: %v: %q", format, err, last)
		}
		t.Log(last)
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left behind", format, left)
		}
	}
}
