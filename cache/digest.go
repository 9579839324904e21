package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Digest is the SHA-256 of a blob's bytes. The zero Digest is no digest of anything; any other value is valid,
// because only Parse, SumBytes and FromSum make one.
type Digest struct {
	sum [sha256.Size]byte
	set bool
}

// ParseDigest reads the form "sha256:<64 lower-case hex digits>" (OCI image-spec, descriptor.md).
func ParseDigest(s string) (Digest, error) {
	// The package digest goes by regular expressions, which is as much work as sending a small file.
	if text, ok := strings.CutPrefix(s, "sha256:"); ok && len(text) == 2*sha256.Size && strings.Trim(text, "0123456789abcdef") == "" {
		out := Digest{set: true}
		if _, err := hex.Decode(out.sum[:], []byte(text)); err == nil {
			return out, nil
		}
	}
	d, err := digest.Parse(s)
	if err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", s, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return Digest{}, fmt.Errorf("digest %q: only sha256 is supported", s)
	}
	var out Digest
	if _, err := hex.Decode(out.sum[:], []byte(d.Encoded())); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", s, err)
	}
	out.set = true
	return out, nil
}

// FromSum makes a Digest of a finished SHA-256.
func FromSum(sum [sha256.Size]byte) Digest { return Digest{sum: sum, set: true} }

// SumBytes is the digest of b.
func SumBytes(b []byte) Digest { return FromSum(sha256.Sum256(b)) }

// String is the form that ParseDigest reads; "" for the zero Digest.
func (d Digest) String() string {
	if !d.set {
		return ""
	}
	return "sha256:" + d.Hex()
}

// Hex is the 64 digits alone; "" for the zero Digest.
func (d Digest) Hex() string {
	if !d.set {
		return ""
	}
	return hex.EncodeToString(d.sum[:])
}

// Sum is the digest's 32 bytes.
func (d Digest) Sum() [sha256.Size]byte { return d.sum }

// IsZero says that d is the digest of nothing.
func (d Digest) IsZero() bool { return !d.set }

// MarshalText makes Digest a string in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := ParseDigest(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}
