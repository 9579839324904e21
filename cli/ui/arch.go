package ui

import (
	"regexp"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/image/oci"
)

// architectures that an image can be for.
var architectures = []string{"amd64", "arm64", "riscv64", "s390x", "ppc64le"}

// variants are those that can be asked for of an architecture; the lowest is meant when none is.
var variants = map[string]*regexp.Regexp{"amd64": regexp.MustCompile(`^v[2-4]$`), "arm64": regexp.MustCompile(`^v[89](\.[1-9])?$`)}

// ParseArch reads an architecture, with a variant or without, under any of its names: "amd64" of x86_64 and of amd64/v1.
func ParseArch(flag, s string) (string, error) {
	p, err := oci.ParsePlatform("linux/" + strings.TrimPrefix(strings.TrimSpace(s), "linux/"))
	if err != nil || !slices.Contains(architectures, p.Architecture) {
		return "", Usagef("%s %q: there is no such architecture; choose of %s", flag, s, strings.Join(architectures, ", "))
	}
	if known := variants[p.Architecture]; p.Variant != "" && (known == nil || !known.MatchString(p.Variant)) {
		return "", Usagef("%s %q: %s has no such variant; amd64 has v1 to v4, arm64 v8 and v9", flag, s, p.Architecture)
	}
	return strings.TrimPrefix(oci.PlatformString(p), "linux/"), nil
}

// BaseArch is an architecture without its variant.
func BaseArch(arch string) string {
	base, _, _ := strings.Cut(arch, "/")
	return base
}
