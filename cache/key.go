package cache

import (
	"fmt"
	"path"
	"strings"
)

// Prefixes of keys.
const (
	BlobPrefix   = "blobs/sha256/"
	ResultPrefix = "results/"
	RefPrefix    = "refs/"
	NamePrefix   = "names/"
	BuildPrefix  = "builds/"
	// ArtifactPrefix: artifacts/<2>/<hex of the artifact's own bytes> holds its description.
	ArtifactPrefix = "artifacts/"
	// BootPrefix: boots/<machine> holds what a machine did lately.
	BootPrefix = "boots/"
	// takenPrefix: taken/<machine> holds what a machine has read of its secrets, where one host is the whole farm.
	takenPrefix = "taken/"
	// intentPath is what machines are to boot, where one host is the whole farm.
	intentPath = "intent/current"
)

// Key names a value in a Store: a relative, clean, slash-separated path. Only the constructors here make one,
// so a key never leaves its store's root whatever the user or the wire put into it.
type Key struct{ path string }

func (k Key) String() string { return k.path }

// BlobKey is where the bytes with digest d are.
func BlobKey(d Digest) Key { return Key{BlobPrefix + fanned(d)} }

// ResultKey is where the result of the step with key d is.
func ResultKey(d Digest) Key { return Key{ResultPrefix + fanned(d)} }

// ArtifactKey is where the description of the artifact whose bytes have digest d is.
func ArtifactKey(d Digest) Key { return Key{ArtifactPrefix + fanned(d)} }

// RefKey is where the meaning of a reference (expanded, "host/name:tag" or "host/name@digest") is, per team and platform.
func RefKey(team, reference, platform string) Key {
	return Key{RefPrefix + escape(team) + "/" + escapePath(reference) + "/" + escape(platform)}
}

// NameKey is where the image made or imported here as reference is.
func NameKey(reference string) Key { return Key{NamePrefix + escapePath(reference)} }

// BuildKey is where the record of a finished build is.
func BuildKey(team, id string) Key { return Key{BuildPrefix + escape(team) + "/" + escape(id)} }

// BuildsOf is the prefix of the keys of a team's builds.
func BuildsOf(team string) string { return BuildPrefix + escape(team) + "/" }

// BootKey is where the boots of a machine are, by its name, or its MAC when it has none.
func BootKey(machine string) Key { return Key{BootPrefix + escape(machine)} }

// TakenKey is where a farm of one host keeps what a machine has read of its secrets.
func TakenKey(machine string) Key { return Key{takenPrefix + escape(machine)} }

// IntentKey is where the intent of a farm of one host is.
func IntentKey() Key { return Key{intentPath} }

// fanned spreads keys over 256 directories by their first two digits. The zero digest gets a name that nothing has.
func fanned(d Digest) string {
	if d.IsZero() {
		return "zero"
	}
	name := d.Hex()
	return name[:2] + "/" + name
}

// Digest is the digest of a blob key; ok is false for other keys.
func (k Key) Digest() (d Digest, ok bool) {
	if !strings.HasPrefix(k.path, BlobPrefix) {
		return Digest{}, false
	}
	d, err := ParseDigest("sha256:" + path.Base(k.path))
	return d, err == nil
}

// ParseKey reads what String gave, as a backend does when it lists.
func ParseKey(s string) (Key, error) {
	if s == "" || s == "." || path.Clean(s) != s || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "..") {
		return Key{}, fmt.Errorf("cache key %q: not a clean relative path", s)
	}
	return Key{s}, nil
}

// escape makes any string one path element: bytes outside [A-Za-z0-9_-:@+.] and a leading dot become %XX.
func escape(s string) string {
	if s == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-:@+", c) >= 0 || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Unescape undoes escape, for listing names.
func Unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		var c byte
		if s[i] == '%' && i+2 < len(s) {
			if n, _ := fmt.Sscanf(s[i+1:i+3], "%02X", &c); n == 1 {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		if s[i] != '%' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// escapePath escapes each element and keeps the slashes between them.
func escapePath(s string) string {
	parts := strings.Split(s, "/")
	for i := range parts {
		parts[i] = escape(parts[i])
	}
	return strings.Join(parts, "/")
}
