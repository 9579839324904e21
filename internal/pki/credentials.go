package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kiln-farm/kiln/internal/durable"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// Credentials are what a part of a farm proves itself with: the farm's CA certificate, a certificate of its own and
// that one's key. They may be used and replaced by many goroutines.
type Credentials struct {
	ca   *x509.Certificate
	pool *x509.CertPool
	own  atomic.Pointer[own]
}

type own struct {
	identity    Identity
	notBefore   time.Time
	certificate tls.Certificate // the chain ends with the CA's, so that one who joins can see it
}

// maxCredentials bounds, in bytes, what is read of a credentials file.
const maxCredentials = 1 << 20

// NewCredentials puts credentials together. The certificate must be the CA's and the key the certificate's.
func NewCredentials(caDER, certDER []byte, key crypto.Signer) (*Credentials, error) {
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, fmt.Errorf("the farm's CA certificate cannot be read: %w", err)
	}
	if !ca.IsCA {
		return nil, errors.New("the certificate of the farm's CA is not one of a CA")
	}
	c := &Credentials{ca: ca, pool: x509.NewCertPool()}
	c.pool.AddCert(ca)
	if err := c.Replace(certDER, key); err != nil {
		return nil, err
	}
	return c, nil
}

// Replace changes the certificate; it counts from the next handshake on.
func (c *Credentials) Replace(certDER []byte, key crypto.Signer) error {
	leaf, err := x509.ParseCertificate(certDER)
	if err != nil {
		return fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if err := leaf.CheckSignatureFrom(c.ca); err != nil {
		return fmt.Errorf("the certificate is not signed by the farm's CA: %w", err)
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !public.Equal(leaf.PublicKey) {
		return errors.New("the key is not the certificate's")
	}
	id, err := identityOf(leaf)
	if err != nil {
		return err
	}
	c.own.Store(&own{
		identity: id, notBefore: leaf.NotBefore,
		certificate: tls.Certificate{Certificate: [][]byte{certDER, c.ca.Raw}, PrivateKey: key, Leaf: leaf},
	})
	return nil
}

// LoadCredentials reads what Save wrote; a shell may hand it over.
func LoadCredentials(ctx context.Context, path string) (*Credentials, error) {
	data, err := userfile.Read(ctx, path, maxCredentials)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there are no credentials at %s: kiln login or kiln farm join gets them: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", path, err)
	}
	c, err := ParseCredentials(data)
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", path, err)
	}
	return c, nil
}

// ParseCredentials reads the content of a credentials file: in PEM the own certificate, the CA's and the private key.
func ParseCredentials(data []byte) (*Credentials, error) {
	var certificates [][]byte
	var key *ecdsa.PrivateKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			certificates = append(certificates, block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			var err error
			if key, err = parseKey(block); err != nil {
				return nil, err
			}
		}
	}
	if len(certificates) != 2 || key == nil {
		return nil, errors.New("it must hold a certificate, the farm's CA certificate and a private key, in PEM")
	}
	return NewCredentials(certificates[1], certificates[0], key)
}

// parseKey reads a private key as Save writes it: ECDSA, in PKCS #8, not encrypted.
func parseKey(block *pem.Block) (*ecdsa.PrivateKey, error) {
	const remedy = "kiln login and kiln farm join make the key themselves"
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errors.New("the private key is encrypted, and a farm's credentials are not; " + remedy)
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("the private key is in the form %q, and not in PKCS #8; %s", block.Type, remedy)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the private key cannot be read: %w; %s", err, remedy)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is %s, of which a farm has none: its keys are ECDSA; %s", kindOf(parsed), remedy)
	}
	return key, nil
}

// kindOf names a key of another kind.
func kindOf(key any) string {
	switch key.(type) {
	case *rsa.PrivateKey:
		return "RSA"
	case ed25519.PrivateKey:
		return "Ed25519"
	}
	return "of another kind"
}

// Save writes the credentials to one file that only its owner can read.
func (c *Credentials) Save(path string) error {
	have := c.own.Load()
	key, err := x509.MarshalPKCS8PrivateKey(have.certificate.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode the private key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: have.certificate.Certificate[0]})
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw})...)
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep credentials in %s: %w", path, err)
	}
	if err := durable.Replace(path, data, 0o600); err != nil {
		return fmt.Errorf("keep credentials in %s: %w", path, err)
	}
	return nil
}

// Identity is who the credentials are for.
func (c *Credentials) Identity() Identity { return c.own.Load().identity }

// CA is the farm's CA certificate, DER.
func (c *Credentials) CA() []byte { return c.ca.Raw }

// Fingerprint is the SHA-256 of the farm's CA certificate.
func (c *Credentials) Fingerprint() [sha256.Size]byte { return sha256.Sum256(c.ca.Raw) }

// Check says why the certificate does not count now.
func (c *Credentials) Check(now time.Time) error {
	have := c.own.Load()
	switch {
	case now.After(have.identity.Expires):
		return fmt.Errorf("the certificate of %s %s expired on %s: get a new one with %s",
			have.identity.Role, have.identity.Name, have.identity.Expires.UTC().Format(time.DateOnly), have.identity.Role.remedy())
	case now.Before(have.notBefore):
		return fmt.Errorf("the certificate of %s %s counts from %s on: is this machine's clock right?",
			have.identity.Role, have.identity.Name, have.notBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Worn says that the certificate has less than a third of its life left: it is time for a new one.
func (c *Credentials) Worn(now time.Time) bool {
	have := c.own.Load()
	return have.identity.Expires.Sub(now) < have.identity.Expires.Sub(have.notBefore)/3
}

// remedy is how somebody of that role gets a new certificate.
func (r Role) remedy() string {
	if r == RoleSubmit || r == RoleAdmin {
		return "kiln login"
	}
	return "kiln farm join and a new token"
}
