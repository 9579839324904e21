package uki

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"

	"github.com/kiln-farm/kiln/image/step"
)

// minKeyBits is what Secure Boot keys have at least; EDK2 refuses smaller ones.
const minKeyBits = 2048

// Sign makes a signature over an Authenticode digest: DER of a PKCS #7 SignedData (RFC 2315) with Microsoft's
// SpcIndirectDataContent. key is an RSA private key in PEM (PKCS #8 or PKCS #1), not encrypted; certificate its X.509
// certificate in PEM, maybe followed by others between it and what firmware trusts, which go along. The same
// digest, key and certificate give the same bytes.
func Sign(digest [32]byte, key, certificate []byte) ([]byte, error) {
	certs, err := readCertificates(certificate)
	if err != nil {
		return nil, err
	}
	private, err := readKey(key)
	if err != nil {
		return nil, err
	}
	public, ok := certs[0].PublicKey.(*rsa.PublicKey)
	if !ok || !public.Equal(private.Public()) {
		return nil, step.Failf("the certificate for signing is not of the key; give both of the same pair, the key's own certificate first")
	}
	content := indirectData(digest)
	attributes := signedAttributes(sha256.Sum256(inside(content)))
	// RFC 2315 §9.3: what is signed is the attributes as a SET, not with the tag they have in the message.
	sum := sha256.Sum256(der(tagSet, attributes))
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	if err != nil {
		return nil, step.Failf("the key for signing does not work: %w; make another one", err)
	}
	return signedData(content, certs, attributes, signature), nil
}

// readCertificates are all certificates in PEM, the signer's first.
func readCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, step.Failf("the certificate for signing is damaged: %w; give an X.509 certificate in PEM", err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, step.Failf("the file with the certificate for signing has none; give an X.509 certificate in PEM")
	}
	return out, nil
}

// readKey is the first private key in PEM.
func readKey(text []byte) (*rsa.PrivateKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", bytes.Contains([]byte(block.Headers["Proc-Type"]), []byte("ENCRYPTED")):
			return nil, step.Failf("the key for signing is encrypted; decrypt it, or have whoever holds it sign the digest")
		case block.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case block.Type == "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, step.Failf("the key for signing is damaged: %w; give an RSA private key in PEM", err)
		}
		private, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, step.Failf("the key for signing is not an RSA key, which is what firmware checks; make one of 2048 bits or more")
		}
		if bits := private.N.BitLen(); bits < minKeyBits {
			return nil, step.Failf("the key for signing has %d bits, and firmware refuses less than %d; make a larger one", bits, minKeyBits)
		}
		return private, nil
	}
	return nil, step.Failf("the file with the key for signing has none; give an RSA private key in PEM")
}
