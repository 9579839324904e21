package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/internal/durable"
	"github.com/kiln-farm/kiln/internal/userfile"
)

const (
	authorityPrefix = "Kiln farm "
	authorityLife   = 10 * 365 * 24 * time.Hour
	nodeLife        = 365 * 24 * time.Hour
	// backdate lets certificates hold on machines whose clocks are behind.
	backdate = 24 * time.Hour

	authorityCertificate = "ca.crt"
	authorityKey         = "ca.key"
)

// Authority is a farm's certificate authority.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	keyDER      []byte
}

// NewAuthority makes the authority of a new farm.
func NewAuthority(farm string, now time.Time) (*Authority, error) {
	if farm == "" || len(farm) > 64 || strings.ContainsFunc(farm, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("farm name %.80q: it is up to 64 letters, digits and signs, without blanks", farm)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: authorityPrefix + farm},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the authority's key: %w", err)
	}
	return ParseAuthority(der, keyDER)
}

// ParseAuthority reads what Certificate and Key gave.
func ParseAuthority(certDER, keyDER []byte) (*Authority, error) {
	certificate, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be read: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("the authority's key cannot be read: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !certificate.IsCA || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the authority's certificate and key do not belong together")
	}
	return &Authority{certificate, key, keyDER}, nil
}

// LoadAuthority reads what Save wrote.
func LoadAuthority(dir string) (*Authority, error) {
	certificate, err := readPEM(filepath.Join(dir, authorityCertificate), "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	key, err := readPEM(filepath.Join(dir, authorityKey), "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	a, err := ParseAuthority(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return a, nil
}

// Save writes the authority to a directory; only its owner can read the key.
func (a *Authority) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the farm's authority in %s: %w", dir, err)
	}
	err := durable.Replace(filepath.Join(dir, authorityKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a.Key()}), 0o600)
	if err == nil {
		err = durable.Replace(filepath.Join(dir, authorityCertificate), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate()}), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the farm's authority in %s: %w", dir, err)
	}
	return nil
}

// Farm is the name of the farm.
func (a *Authority) Farm() string { return farmOf(a.certificate.Subject) }

// Certificate is the authority's certificate, DER.
func (a *Authority) Certificate() []byte { return a.certificate.Raw }

// Key is the authority's private key, PKCS #8, DER.
func (a *Authority) Key() []byte { return a.keyDER }

// Fingerprint is the SHA-256 of the authority's certificate.
func (a *Authority) Fingerprint() [sha256.Size]byte { return sha256.Sum256(a.certificate.Raw) }

// Issue makes a certificate and its key and keeps them in a file, as Credentials.Save does.
func (a *Authority) Issue(who Identity, path string, now time.Time) error {
	key, csr, err := NewRequest(who.Name)
	if err != nil {
		return err
	}
	certificate, err := a.Sign(csr, who, nil, now)
	if err != nil {
		return err
	}
	credentials, err := NewCredentials(a.Certificate(), certificate, key)
	if err != nil {
		return err
	}
	return credentials.Save(path)
}

// Sign makes a certificate (DER) for the owner of a PKCS #10 request, whose subject does not count: who they are is
// id's to say. Hosts are names and addresses under which others reach them. It lives until id.Expires, a year when zero.
func (a *Authority) Sign(csr []byte, id Identity, hosts []string, now time.Time) ([]byte, error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err == nil {
		err = request.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if _, err := ParseRole(string(id.Role)); err != nil || id.Name == "" {
		return nil, errors.New("a certificate needs a name and a role")
	}
	if id.Team != "" && id.Role != RoleSubmit {
		return nil, fmt.Errorf("a certificate for the role %s has no team", id.Role)
	}
	if id.Expires.IsZero() {
		id.Expires = now.Add(nodeLife)
	}
	if id.Expires.After(a.certificate.NotAfter) {
		id.Expires = a.certificate.NotAfter
	}
	template := &x509.Certificate{
		Subject: subjectOf(id), NotBefore: now.Add(-backdate), NotAfter: id.Expires,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if id.Role == RoleCoordinator || id.Role == RoleEdge {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		for _, host := range hosts {
			if ip := net.ParseIP(host); ip != nil {
				template.IPAddresses = append(template.IPAddresses, ip)
			} else if host != "" && !strings.Contains(host, "*") && !strings.HasSuffix(strings.ToLower(host), ".kiln") {
				template.DNSNames = append(template.DNSNames, host)
			}
		}
	}
	if id.Role == RoleCoordinator {
		template.DNSNames = append(template.DNSNames, coordinatorName)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, request.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return der, nil
}

// NewRequest makes a key and a certificate request (PKCS #10, DER) for it.
func NewRequest(name string) (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return key, csr, nil
}

func readPEM(path, kind string) ([]byte, error) {
	data, err := userfile.ReadFile(path, maxCredentials)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: kiln init or kiln farm join makes it", path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s has no %s in PEM", path, strings.ToLower(kind))
	}
	return block.Bytes, nil
}
