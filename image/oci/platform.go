package oci

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

var platformPart = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)

// ParsePlatform reads "os/architecture" or "os/architecture/variant", in its normal form: x86_64 is amd64, amd64/v1 is
// amd64, arm64/v8 is arm64.
func ParsePlatform(s string) (imagespec.Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	for _, part := range parts {
		if len(parts) < 2 || len(parts) > 3 || !platformPart.MatchString(part) {
			return imagespec.Platform{}, fmt.Errorf("%.100q is no platform: write it like linux/amd64", s)
		}
	}
	p := imagespec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return normal(p), nil
}

// PlatformString is what ParsePlatform reads.
func PlatformString(p imagespec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// aliases are names of architectures that platforms.Normalize leaves as they are: the kernel's and old ones of Docker's.
var aliases = map[string]string{
	"i486": "386", "i586": "386", "i686": "386", "x86": "386", "ia32": "386", "x64": "amd64", "armv8": "arm64", "armv8l": "arm64",
	"armv7": "arm", "armv7l": "arm", "riscv": "riscv64", "ppc64el": "ppc64le", "powerpc64le": "ppc64le",
}

// normal is a platform as containerd writes it. What is not said (the operating system) stays unsaid.
func normal(p imagespec.Platform) imagespec.Platform {
	p.Architecture = strings.ToLower(p.Architecture)
	if real, ok := aliases[p.Architecture]; ok {
		p.Architecture = real
	}
	if p.Architecture == "amd64" && len(p.Variant) == 1 {
		p.Variant = "v" + p.Variant
	}
	n := platforms.Normalize(p)
	if p.OS == "" {
		n.OS = "" // Normalize takes this machine's
	}
	return n
}

// runs says whether an image for have runs where want is asked for, as containerd decides it: an image for the same
// architecture and the same variant, or a lower one of it. 32-bit images are not taken for 64-bit machines.
func runs(have, want imagespec.Platform) bool {
	return normal(have).Architecture == normal(want).Architecture && platforms.Only(normal(want)).Match(normal(have))
}

// better says that an image for a suits want better than one for b: its variant is higher. Both run there.
func better(a, b, want imagespec.Platform) bool {
	return platforms.Only(normal(want)).Less(normal(a), normal(b))
}

// PlatformError says that an image does not exist for a platform.
type PlatformError struct {
	Reference string
	Want      string
	Have      []string // sorted
}

func newPlatformError(reference string, want imagespec.Platform, have []imagespec.Platform) *PlatformError {
	e := &PlatformError{Reference: reference, Want: PlatformString(want)}
	for _, p := range have {
		e.Have = append(e.Have, PlatformString(p))
	}
	slices.Sort(e.Have)
	e.Have = slices.Compact(e.Have)
	return e
}

func (e *PlatformError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("image %s has no platforms at all, so none for %s", e.Reference, e.Want)
	}
	return fmt.Sprintf("image %s is not available for %s: it has %s", e.Reference, e.Want, strings.Join(e.Have, ", "))
}
