package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecureBootFromTheNetwork: firmware that starts only signed programs, and a group whose machines boot the unified kernel
// image itself. A loader is there that would be preferred otherwise, and would not start.
func TestSecureBootFromTheNetwork(t *testing.T) {
	full(t)
	w := prepared(t)
	r := newRoom(t)
	key := secureKey(t)
	build := func(name string, sign ...string) {
		w.buildFile(t, "examples/machine.yml", append([]string{"--name", name, "--arch", "amd64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo"}, sign...)...)
	}
	build("signed", "--sign-key", key, "--sign-cert", secureCert)
	build("unsigned")
	loaders := t.TempDir()
	if err := os.WriteFile(filepath.Join(loaders, "snponly.efi"), []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, release string
		more          []string
		not           string
	}{
		{"a signed image by PXE", "signed", nil, "Start HTTP Boot"},
		{"a signed image by HTTP boot", "signed", httpOnly, ""},
		{"an unsigned image by PXE", "unsigned", nil, "Start HTTP Boot"},
		{"an unsigned image by HTTP boot", "unsigned", httpOnly, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r.during(t)
			w.apply(t, machineYAML(c.release, fixedAddress, "    boot: uki"))
			log := r.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", "full", "--loaders", loaders)
			machine := r.in(x86(append(append(firmwareArgs(t, secureCode, secureVars, r.tap()), secureQEMU...), c.more...)...)...)
			if c.release == "signed" {
				notBy(t, c.not, boot(t, machine, configured))
				return
			}
			said := machineSays(t, machine, "Access Denied", "Security Violation")
			notBy(t, c.not, []string{said})
			if strings.Contains(said, "KILN-") || strings.Contains(said, "Linux version") {
				t.Errorf("firmware with Secure Boot started an unsigned image:\n%s", said)
			}
			// It had the image, and refused it.
			if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "uki/") || strings.Contains(string(text), "sent by TFTP") != (c.more == nil) {
				t.Errorf("the edge's log does not tell of the image (%v):\n%s", err, text)
			}
		})
	}
}
