package uki

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"

	"github.com/kiln-farm/kiln/image/step"
)

// SignBy is Sign with a key that somebody else holds: a machine or a service that gives RSA signatures (PKCS #1 v1.5)
// over SHA-256 digests. What it gives is checked against the certificate.
func SignBy(digest [32]byte, certificate []byte, signer interface {
	Sign(digest []byte) ([]byte, error)
}) ([]byte, error) {
	certs, err := readCertificates(certificate)
	if err != nil {
		return nil, err
	}
	public, ok := certs[0].PublicKey.(*rsa.PublicKey)
	if !ok || public.N.BitLen() < minKeyBits {
		return nil, step.Failf("the certificate for signing is not of an RSA key of %d bits or more, which is what firmware checks; give another one", minKeyBits)
	}
	content := indirectData(digest)
	attributes := signedAttributes(sha256.Sum256(inside(content)))
	sum := sha256.Sum256(der(tagSet, attributes))
	signature, err := signer.Sign(sum[:])
	if err != nil {
		return nil, step.Failf("the signer failed: %w", err)
	}
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
		return nil, step.Failf("the signer gave %d bytes that are no RSA signature (PKCS #1 v1.5, SHA-256) of the certificate's key", len(signature))
	}
	return signedData(content, certs, attributes, signature), nil
}
