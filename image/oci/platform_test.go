package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/x86_64": "linux/amd64", "linux/X86-64": "linux/amd64", "linux/x64": "linux/amd64",
		"linux/amd64/v1": "linux/amd64", "linux/amd64/v3": "linux/amd64/v3", "linux/amd64/3": "linux/amd64/v3", "linux/x86_64/v2": "linux/amd64/v2",
		"linux/aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/arm64/8": "linux/arm64", "linux/arm64/v9": "linux/arm64/v9",
		"linux/i386": "linux/386", "linux/i686": "linux/386", "linux/386": "linux/386",
		"linux/arm": "linux/arm/v7", "linux/armhf": "linux/arm/v7", "linux/armel": "linux/arm/v6", "linux/arm/6": "linux/arm/v6", "linux/armv7l": "linux/arm/v7",
		"Linux/AMD64": "linux/amd64", "linux/riscv64": "linux/riscv64", "linux/ppc64el": "linux/ppc64le", "linux/s390x": "linux/s390x",
	} {
		p, err := ParsePlatform(in)
		if got := PlatformString(p); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/a b", "linux/amd64/" + strings.Repeat("v", 33)} {
		if p, err := ParsePlatform(in); err == nil {
			t.Errorf("%q: got %v, want a refusal", in, p)
		}
	}
}

// An index says of its entries what tools made of GOARCH, uname and labels; the first of several equals counts.
func TestAnIndexGivesTheBestVariantThatRuns(t *testing.T) {
	for _, tt := range []struct {
		has  string // platforms of an index's entries, in their order
		want string
		got  string // the chosen one; empty for none
	}{
		{"amd64/v3 amd64/v2 amd64/v1", "linux/amd64", "amd64/v1"},
		{"amd64/v3 amd64/v2 amd64", "linux/amd64/v1", "amd64"},
		{"amd64/v3 amd64/v2 amd64", "linux/amd64/v2", "amd64/v2"},
		{"amd64 amd64/v2 amd64/v4 amd64/v3", "linux/amd64/v3", "amd64/v3"},
		{"amd64 amd64/v2", "linux/amd64/v4", "amd64/v2"},
		{"amd64/v4 amd64/v3", "linux/amd64/v2", ""},
		{"amd64/v2", "linux/amd64", ""},
		{"386 amd64", "linux/amd64/v3", "amd64"},
		{"386", "linux/amd64", ""},
		{"i386 x86_64", "linux/amd64", "x86_64"},
		{"x86_64/v2 x86_64", "linux/amd64", "x86_64"},
		{"amd64/2 amd64/1", "linux/amd64/v2", "amd64/2"},
		{"AMD64", "linux/amd64", "AMD64"},
		{"amd64/haswell amd64", "linux/amd64/v3", "amd64"},
		{"arm64/v9 arm64/v8", "linux/arm64", "arm64/v8"},
		{"arm64/v9 arm64", "linux/arm64/v9", "arm64/v9"},
		{"aarch64", "linux/arm64", "aarch64"},
		{"arm/v8 arm/v7", "linux/arm64", ""},
		{"arm64/v8.2 arm64/v8", "linux/arm64", "arm64/v8"},
		{"arm/v5 arm/v6 arm/v7", "linux/arm/v6", "arm/v6"},
		{"arm/v5 arm/v7", "linux/arm/v6", "arm/v5"},
		{"armel armhf", "linux/arm", "armhf"},
		{"armhf", "linux/arm/v6", ""},
		{"i686 386", "linux/386", "i686"},
		{"riscv64/rva23u64 riscv64", "linux/riscv64", "riscv64"},
		{"ppc64le", "linux/ppc64le", "ppc64le"},
	} {
		t.Run(tt.has+" for "+tt.want, func(t *testing.T) {
			c := content{}
			var entries []imagespec.Descriptor
			for _, name := range strings.Fields(tt.has) {
				arch, variant, _ := strings.Cut(name, "/")
				d := c.image(t, "", name) // a config that says nothing
				d.Platform = &imagespec.Platform{OS: "linux", Architecture: arch, Variant: variant}
				entries = append(entries, d)
			}
			got, err := Resolve(context.Background(), c.fetch, "example.com/i:1", c.index(t, entries...), tt.want)
			if tt.got == "" {
				var absent *PlatformError
				if !errors.As(err, &absent) || len(absent.Have) != len(entries) {
					t.Errorf("got %v, %v; want that there is none, and those that there are", got, err)
				}
				return
			}
			if err != nil || got.GetLayers()[0].GetDigest() != string(cacheDigest(tt.got)) || got.GetPlatform() != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.got)
			}
		})
	}
}

// What an image's config says of its variant binds it, with an index or without.
func TestAConfigBindsTheVariant(t *testing.T) {
	for _, tt := range []struct {
		config, want string
		ok           bool
	}{
		{"linux/amd64/v3", "linux/amd64", false}, {"linux/amd64/v3", "linux/amd64/v3", true}, {"linux/amd64/v3", "linux/amd64/v4", true},
		{"linux/amd64", "linux/amd64/v3", true}, {"linux/arm/v7", "linux/arm/v6", false}, {"linux/arm64", "linux/arm64/v9", true},
	} {
		c := content{}
		_, err := Resolve(context.Background(), c.fetch, "example.com/i:1", c.image(t, tt.config, "layer"), tt.want)
		if (err == nil) != tt.ok {
			t.Errorf("an image for %s on %s: got %v, want it to go well: %v", tt.config, tt.want, err, tt.ok)
		}
	}
}

// Every pair of variants, as containerd decides it of the same architecture.
func TestVariantsAreThoseOfContainerd(t *testing.T) {
	var all []imagespec.Platform
	for _, arch := range []string{"amd64", "arm64", "arm", "386", "riscv64"} {
		for _, variant := range []string{"", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v8.1", "v9", "v9.2", "odd"} {
			all = append(all, imagespec.Platform{OS: "linux", Architecture: arch, Variant: variant})
		}
	}
	for _, want := range all {
		for _, have := range all {
			theirs := platforms.Only(want).Match(have) && have.Architecture == want.Architecture
			if got := runs(have, want); got != theirs {
				t.Errorf("%s on %s: got %v, want %v", PlatformString(have), PlatformString(want), got, theirs)
			}
		}
	}
}

func FuzzParsePlatform(f *testing.F) {
	f.Add("linux/x86_64/v3")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		again, err := ParsePlatform(PlatformString(p))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(p) || !slices.Equal(again.OSFeatures, p.OSFeatures) {
			t.Errorf("%q: %v, then %v, %v", s, p, again, err)
		}
	})
}
