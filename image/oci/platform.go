package oci

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

var platformPart = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)

// ParsePlatform reads "os/architecture" or "os/architecture/variant".
func ParsePlatform(s string) (imagespec.Platform, error) {
	parts := strings.Split(s, "/")
	for _, part := range parts {
		if len(parts) < 2 || len(parts) > 3 || !platformPart.MatchString(part) {
			return imagespec.Platform{}, fmt.Errorf("%.100q is no platform: write it like linux/amd64", s)
		}
	}
	p := imagespec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// PlatformString is what ParsePlatform reads.
func PlatformString(p imagespec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// matches says whether an image for have runs where want is asked for. A want without a variant takes any.
func matches(have, want imagespec.Platform) bool {
	return have.OS == want.OS && have.Architecture == want.Architecture && (want.Variant == "" || variant(have) == variant(want))
}

// variant is p's, with the one that arm64 has when none is given (containerd's platform normalization).
func variant(p imagespec.Platform) string {
	if p.Architecture == "arm64" && p.Variant == "" {
		return "v8"
	}
	return p.Variant
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
