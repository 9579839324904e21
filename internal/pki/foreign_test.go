package pki

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t *testing.T, key any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

// TestCredentialsOfOthersGetASentence: files that people have, which Save did not write.
func TestCredentialsOfOthersGetASentence(t *testing.T) {
	c := issue(t, authority(t, "kiln"), Identity{Role: RoleSubmit, Name: "ci"}, time.Now())
	path := filepath.Join(t.TempDir(), "c.pem")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	certificates, _, ok := strings.Cut(string(good), "-----BEGIN PRIVATE KEY-----")
	if !ok {
		t.Fatalf("Save wrote no private key:\n%s", good)
	}
	first, _, _ := strings.Cut(certificates, "-----END CERTIFICATE-----\n")
	first += "-----END CERTIFICATE-----\n"
	second := strings.TrimPrefix(certificates, first)

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	rsaText := pkcs8(t, rsaKey, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ecText := pkcs8(t, ecKey, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	edText := pkcs8(t, edKey, err)
	dhKey, err := ecdh.X25519().GenerateKey(rand.Reader)
	dhText := pkcs8(t, dhKey, err)
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"an empty file", "", "it must hold a certificate, the farm's CA certificate and a private key"},
		{"no PEM", "hello\n", "it must hold a certificate, the farm's CA certificate and a private key"},
		{"an RSA key alone", rsaText, "the private key is RSA"},
		{"an RSA key with certificates", certificates + rsaText, "the private key is RSA"},
		{"an Ed25519 key", certificates + edText, "the private key is Ed25519"},
		{"an X25519 key", certificates + dhText, "the private key is of another kind"},
		{"another ECDSA key", certificates + ecText, "the key is not the certificate's"},
		{"an ECDSA key alone", ecText, "it must hold a certificate, the farm's CA certificate and a private key"},
		{"certificates without a key", certificates, "it must hold a certificate, the farm's CA certificate and a private key"},
		{"one certificate", first + ecText, "it must hold a certificate, the farm's CA certificate and a private key"},
		{"a key in PKCS #1", certificates + block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), `the private key is in the form "RSA PRIVATE KEY"`},
		{"a key in SEC 1", certificates + block("EC PRIVATE KEY", sec1), `the private key is in the form "EC PRIVATE KEY"`},
		{"an encrypted key", certificates + block("ENCRYPTED PRIVATE KEY", []byte{0x30, 0}), "the private key is encrypted"},
		{"an encrypted key of old", certificates + string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}})), "the private key is encrypted"},
		{"a damaged key", certificates + block("PRIVATE KEY", []byte{0x30, 0}), "the private key cannot be read"},
		{"a certificate that is damaged", block("CERTIFICATE", []byte{0x30, 0}) + second + ecText, "the certificate cannot be read"},
		{"certificates of which the second is no authority's", first + first + ecText, "is not one of a CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadCredentials(t.Context(), path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want the file and %q", err, c.want)
			}
		})
	}
	if _, err := ParseCredentials(good); err != nil {
		t.Errorf("what Save wrote: %v", err)
	}
}

// TestKeysOfOpenSSLGetASentence: as people make them.
func TestKeysOfOpenSSLGetASentence(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"RSA", []string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, "the private key is RSA"},
		{"RSA, encrypted", []string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-aes256", "-pass", "pass:x"}, "the private key is encrypted"},
		{"RSA of old", []string{"genrsa", "-traditional", "2048"}, `the private key is in the form "RSA PRIVATE KEY"`},
		{"ECDSA of old", []string{"ecparam", "-name", "prime256v1", "-genkey"}, `the private key is in the form "EC PRIVATE KEY"`},
		{"Ed25519", []string{"genpkey", "-algorithm", "ed25519"}, "the private key is Ed25519"},
		{"Ed448", []string{"genpkey", "-algorithm", "ed448"}, "the private key cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := exec.Command("openssl", c.args...).Output()
			if err != nil {
				t.Fatalf("openssl %v: %v", c.args, err)
			}
			if _, err := ParseCredentials(text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
