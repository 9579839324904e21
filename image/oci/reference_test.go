package oci

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func cacheDigest(s string) digest.Digest { return digest.FromString(s) }

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ in, expanded, tagged string }{
		{"redis", "docker.io/library/redis", "docker.io/library/redis:latest"},
		{"redis:7", "docker.io/library/redis:7", "docker.io/library/redis:7"},
		{"foo/bar", "docker.io/foo/bar", "docker.io/foo/bar:latest"},
		{"example.com/bar", "example.com/bar", "example.com/bar:latest"},
		{"localhost/bar", "localhost/bar", "localhost/bar:latest"},
		{"localhost:5000/bar", "localhost:5000/bar", "localhost:5000/bar:latest"},
		{"a/b/c:1", "a/b/c:1", "a/b/c:1"},
		{"foo/bar@sha256:12", "docker.io/foo/bar@sha256:12", "docker.io/foo/bar@sha256:12"},
	} {
		if got := Expand(tt.in); got != tt.expanded {
			t.Errorf("Expand(%q): got %q, want %q", tt.in, got, tt.expanded)
		}
		if got := WithTag(Expand(tt.in)); got != tt.tagged {
			t.Errorf("WithTag(Expand(%q)): got %q, want %q", tt.in, got, tt.tagged)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"hello", "docker.io/library/hello:latest", ""},
		{"example.com:5000/a/b__c:V1.0", "example.com:5000/a/b__c:V1.0", ""},
		{"[::1]:5000/a:1", "[::1]:5000/a:1", ""},
		{"", "", "no image reference"},
		{"example.com/../x:1", "", "no image reference"},
		{"example.com/UPPER:1", "", "no image reference"},
		{"example.com/a\x00b:1", "", "no image reference"},
		{"example.com/a:" + strings.Repeat("x", 129), "", "no valid tag"},
		{"example.com/a@sha256:12", "", "has a digest"},
	} {
		got, err := checkName(tt.in)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("checkName(%q): got %q, %v; want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestFindName(t *testing.T) {
	store := openDir(t)
	right, wrong := string(cacheDigest("right")), string(cacheDigest("wrong"))
	for _, reference := range []string{"docker.io/library/a:latest", "example.com/b:1"} {
		if err := record.PutName(context.Background(), store, &kilnv1.Name{Reference: reference, Target: right}); err != nil {
			t.Fatal(err)
		}
	}
	for reference, want := range map[string]string{
		"a": "docker.io/library/a:latest", "a:latest": "docker.io/library/a:latest", "a:1": "",
		"example.com/b": "", "example.com/b:1": "example.com/b:1",
		"example.com/b:1@" + right: "example.com/b:1", "example.com/b:1@" + wrong: "", "a@" + right: "docker.io/library/a:latest",
	} {
		got, err := FindName(context.Background(), store, reference)
		if got.GetReference() != want && err == nil || (err == nil) != (want != "") || err != nil && !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("FindName(%q): got %v, %v; want %q", reference, got, err, want)
		}
	}
}
