package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDiskOptionsInTheYAML: flags and the YAML's section say the same, and give the same bytes.
func TestDiskOptionsInTheYAML(t *testing.T) {
	w := prepared(t)
	const format = "raw-efi-verity,raw-bios,raw-efi"
	byFlags := w.build(t, append([]string{"--arch", "amd64", "--format", format, "--disk-size", "96M", "--state-size", "16M",
		"--append", "quiet", "--serial", "ttyS0", "--root-fs", "squashfs"}, loaders...)...)
	file := filepath.Join(t.TempDir(), "hello.yml")
	section := "\nkiln:\n  boot: kiln.example/boot:demo\n  initrd: kiln.example/root:demo\n  cmdline: quiet\n  serial: ttyS0\n" +
		"  disk:\n    size: 96M\n    state: 16M\n    root: squashfs\n"
	if err := os.WriteFile(file, append(read(t, filepath.Join(w.root, "examples/hello.yml")), section...), 0o600); err != nil {
		t.Fatal(err)
	}
	byYAML := w.buildFile(t, file, "--arch", "amd64", "--format", format)
	for _, suffix := range []string{"-verity.img", "-bios.img", "-efi.img"} {
		disk := filepath.Join(byFlags, "hello"+suffix)
		got := read(t, disk)
		if len(got) != 96<<20 || !bytes.Equal(got, read(t, filepath.Join(byYAML, "hello"+suffix))) {
			t.Errorf("%s of %d bytes is another one by the YAML", suffix, len(got))
		}
		if said := tool(t, "sfdisk", "-d", disk); !strings.Contains(said, "size=       32768") { // sectors
			t.Errorf("%s has no partition of 16 MiB:\n%s", suffix, said)
		}
	}
	_, uki := ukiOf(t, mcopy(t, partition(t, filepath.Join(byFlags, "hello-efi.img"), 1), efiNames...))
	if line := string(uki[".cmdline"]); !strings.HasSuffix(line, " quiet console=ttyS0") {
		t.Errorf("the command line is %q", line)
	}
}
