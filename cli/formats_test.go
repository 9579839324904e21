package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cli/ui"
)

// selfSigned writes a key and a certificate of it.
func (w *world) selfSigned(name string) {
	w.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	w.write(name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
}

func TestFaultsOfFormatsGetASentence(t *testing.T) {
	w := newWorld(t)
	w.push("lab/boot:1", "amd64", map[string]string{"usr/lib/systemd/boot/efi/linuxx64.efi.stub": "a stub"})
	w.push("lab/empty:1", "amd64", map[string]string{"readme": "nothing here"})
	w.selfSigned("mine")
	w.selfSigned("other")
	w.write("section.yml", "kiln:\n  boot: lab/boot:1\n  disk:\n    size: huge\ninit:\n  - lab/init:1\n")
	w.write("unknown.yml", "kiln:\n  bott: lab/boot:1\ninit:\n  - lab/init:1\n")
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // what the sentence holds
	}{
		{"a kernel without an EFI stub", []string{"--format", "uki", "--boot", "lab/boot:1", "hello.yml"}, ui.ExitFailed, "the kernel has no EFI stub, so no firmware can start it"},
		{"an image without boot loaders", []string{"--format", "raw-efi", "--boot", "lab/empty:1", "hello.yml"}, ui.ExitFailed,
			"the image docker.io/lab/empty:1 has no systemd's UEFI stub for amd64: it should be at usr/lib/systemd/boot/efi/linuxx64.efi.stub"},
		{"an image of boot loaders that is not there", []string{"--format", "raw-efi", "--boot", "lab/gone:1", "hello.yml"}, ui.ExitFailed,
			"image docker.io/lab/gone:1 is not in registry"},
		{"a certificate of another key", []string{"--format", "uki", "--boot", "lab/boot:1", "--sign-key", "mine.key", "--sign-cert", "other.crt", "hello.yml"}, ui.ExitUsage,
			"the certificate for signing is not of the key"},
		{"a key that is none", []string{"--format", "uki", "--boot", "lab/boot:1", "--sign-key", "hello.yml", "--sign-cert", "mine.crt", "hello.yml"}, ui.ExitUsage,
			"key for signing"},
		{"two that sign", []string{"--sign-key", "mine.key", "--signer", "true", "--sign-cert", "mine.crt", "hello.yml"}, ui.ExitUsage, "--sign-key and --signer both sign"},
		{"a signer that fails", []string{"--format", "uki", "--boot", "lab/boot:1", "--signer", "echo no >&2; false", "--sign-cert", "mine.crt", "hello.yml"}, ui.ExitUsage,
			"the signer failed: echo no >&2; false: exit status 1: no"},
		{"nothing to sign", []string{"--format", "tar", "--sign-key", "mine.key", "--sign-cert", "mine.crt", "hello.yml"}, ui.ExitFailed, "there is nothing to sign in tar"},
		{"a verified root without its initrd", []string{"--format", "raw-efi-verity", "--boot", "lab/boot:1", "hello.yml"}, ui.ExitUsage, "boots with an initrd that opens the verified root"},
		{"a size in the YAML that is none", []string{"section.yml"}, ui.ExitUsage, "section.yml:4: kiln.disk.size \"huge\" is not a size"},
		{"a setting that there is not", []string{"unknown.yml"}, ui.ExitUsage, "unknown.yml:2: "},
		{"a push of another format", []string{"--push", "localhost:1/x", "--format", "tar", "hello.yml"}, ui.ExitUsage, "--push pushes what the format oci makes"},
		{"a file system that there is not", []string{"--root-fs", "ext4", "hello.yml"}, ui.ExitUsage, "--root-fs \"ext4\": it is erofs or squashfs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := files1(t, ".")
			got := w.run(append([]string{"build", "--arch", "amd64", "--mirror", w.registry}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.last(), c.want) {
				t.Errorf("exit code %d, want %d\n got %q\nwant %q", got.code, c.code, got.last(), c.want)
			}
			if after := files1(t, "."); len(after) != len(before) {
				t.Errorf("files before %v, after %v: something was left behind", before, after)
			}
		})
	}
}
