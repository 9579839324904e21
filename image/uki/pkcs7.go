package uki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"github.com/kiln-farm/kiln/image/step"
)

// Identifier octets of DER (ITU-T X.690 §8.1.2) as they are needed here.
const (
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30
	tagSet         = 0x31
	tagExplicit0   = 0xa0 // also IMPLICIT of something constructed
	tagExplicit2   = 0xa2
	tagImplicit0   = 0x80 // of something primitive
	signedVersion  = 1    // RFC 2315 §9.1 and §9.2
)

// Object identifiers: RFC 2315 §14, RFC 2985 §5.3 and §5.4, RFC 5754 §2.2, and the Authenticode PE specification.
var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidIndirectData  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidPEImageData   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// indirectData is the SpcIndirectDataContent of a PE file's digest.
func indirectData(digest [32]byte) []byte {
	// The specification has every signature name its file so, in UTF-16.
	var obsolete []byte
	for _, c := range "<<<Obsolete>>>" {
		obsolete = append(obsolete, 0, byte(c))
	}
	peImage := der(tagSequence,
		der(tagBitString, []byte{0}), // SpcPeImageFlags: none
		der(tagExplicit0, der(tagExplicit2, der(tagImplicit0, obsolete))))
	return der(tagSequence,
		der(tagSequence, objectID(oidPEImageData), peImage),
		der(tagSequence, algorithm(oidSHA256), der(tagOctetString, digest[:])))
}

// signedAttributes are the elements of the set of authenticated attributes, in DER's order.
func signedAttributes(content [sha256.Size]byte) []byte {
	return slices.Concat(
		der(tagSequence, objectID(oidContentType), der(tagSet, objectID(oidIndirectData))),
		der(tagSequence, objectID(oidMessageDigest), der(tagSet, der(tagOctetString, content[:]))))
}

// signedData puts the message together (RFC 2315 §7, §9.1, §9.2).
func signedData(content []byte, certs []*x509.Certificate, attributes, signature []byte) []byte {
	var chain []byte
	for _, c := range certs {
		chain = append(chain, c.Raw...)
	}
	serial, err := asn1.Marshal(certs[0].SerialNumber)
	if err != nil { // not for a certificate that was parsed
		serial = der(tagInteger, []byte{0})
	}
	version := der(tagInteger, []byte{signedVersion})
	signer := der(tagSequence,
		version,
		der(tagSequence, certs[0].RawIssuer, serial),
		algorithm(oidSHA256),
		der(tagExplicit0, attributes),
		algorithm(oidRSA),
		der(tagOctetString, signature))
	return der(tagSequence,
		objectID(oidSignedData),
		der(tagExplicit0, der(tagSequence,
			version,
			der(tagSet, algorithm(oidSHA256)),
			der(tagSequence, objectID(oidIndirectData), der(tagExplicit0, content)),
			der(tagExplicit0, chain),
			der(tagSet, signer))))
}

// SignedDigest is the Authenticode digest that a signature (PKCS #7 in DER, zeros may follow it) was made over. It does
// not check the signature: whoever boots the image does.
func SignedDigest(signature []byte) ([32]byte, error) {
	const remedy = "give what sbsign --detached makes, a PKCS #7 signature in DER over the SHA-256 of the EFI program"
	var digest [32]byte
	if len(signature) > maxSignature {
		return digest, step.Failf("the signature has %d bytes, too many for one; %s", len(signature), remedy)
	}
	p := parser{rest: signature}
	p.enter(tagSequence)
	if len(bytes.Trim(p.after, "\x00")) > 0 {
		p.bad = true
	}
	p.expect(oidSignedData)
	p.enter(tagExplicit0)
	p.enter(tagSequence)
	p.skip(tagInteger)
	p.skip(tagSet)
	p.enter(tagSequence)
	p.expect(oidIndirectData)
	p.enter(tagExplicit0)
	p.enter(tagSequence)
	p.skip(tagSequence) // which kind of file
	p.enter(tagSequence)
	sum := parser{rest: p.element(tagSequence)}
	value := p.element(tagOctetString)
	if p.bad {
		return digest, step.Failf("the signature is none of an EFI program; %s", remedy)
	}
	if sum.expect(oidSHA256); sum.bad || len(value) != len(digest) {
		return digest, step.Failf("the signature is not over a SHA-256; %s", remedy)
	}
	copy(digest[:], value)
	return digest, nil
}

// parser goes through DER from outside in. The first surprise makes it bad, and all that follows nothing.
type parser struct {
	rest  []byte // what is not read yet, within what was entered
	after []byte // what follows what was entered last
	bad   bool
}

// element returns the contents of the next element, which must have the tag.
func (p *parser) element(tag byte) []byte {
	var v asn1.RawValue
	if p.bad || len(p.rest) == 0 || p.rest[0] != tag {
		p.bad = true
		return nil
	}
	rest, err := asn1.Unmarshal(p.rest, &v)
	if err != nil {
		p.bad = true
		return nil
	}
	p.rest = rest
	return v.Bytes
}

func (p *parser) skip(tag byte) { p.element(tag) }

// enter goes on within the next element.
func (p *parser) enter(tag byte) {
	inner := p.element(tag)
	p.rest, p.after = inner, p.rest
}

// expect reads an object identifier, which must be that one.
func (p *parser) expect(id asn1.ObjectIdentifier) {
	if value := p.element(tagOID); !bytes.Equal(value, inside(objectID(id))) {
		p.bad = true
	}
}

// der is an element of DER with the tag around parts.
func der(tag byte, parts ...[]byte) []byte {
	inner := slices.Concat(parts...)
	out := []byte{tag}
	switch n := len(inner); { // X.690 §10.1
	case n < 0x80:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, inner...)
}

// inside are the contents of an element that der made.
func inside(element []byte) []byte {
	if n := element[1]; n >= 0x80 {
		return element[2+int(n&0x7f):]
	}
	return element[2:]
}

func algorithm(id asn1.ObjectIdentifier) []byte { return der(tagSequence, objectID(id), der(tagNull)) }

// objectID is an object identifier in DER (X.690 §8.19).
func objectID(id asn1.ObjectIdentifier) []byte {
	inner := []byte{byte(id[0]*40 + id[1])}
	for _, arc := range id[2:] {
		septets := []byte{byte(arc & 0x7f)}
		for arc >>= 7; arc > 0; arc >>= 7 {
			septets = append(septets, byte(arc&0x7f|0x80))
		}
		slices.Reverse(septets)
		inner = append(inner, septets...)
	}
	return der(tagOID, inner)
}
