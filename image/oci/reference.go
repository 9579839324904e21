package oci

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Expand gives a reference its registry as LinuxKit does: "redis" is "docker.io/library/redis", "foo/bar" is
// "docker.io/foo/bar". Tags and digests stay as they are; none is added.
func Expand(reference string) string {
	first, rest, nested := strings.Cut(reference, "/")
	switch {
	case !nested:
		return "docker.io/library/" + reference
	case strings.Contains(rest, "/"), strings.ContainsAny(first, ".:"), first == "localhost":
		return reference
	}
	return "docker.io/" + reference
}

// WithTag adds ":latest" to a reference that has neither a tag nor a digest.
func WithTag(reference string) string {
	if _, tag, digest := split(reference); tag != "" || digest != "" {
		return reference
	}
	return reference + ":latest"
}

// split takes a reference apart; a colon before a slash belongs to a port.
func split(reference string) (name, tag, digest string) {
	name, digest, _ = strings.Cut(reference, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	return name, tag, digest
}

// The grammar of references (OCI distribution-spec, "Pulling manifests"), for expanded ones.
var (
	hostForm = regexp.MustCompile(`^(localhost|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$`)
	pathForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

const maxReference = 1024 // bytes

// checkName returns the full form of a name that an image may be given here: expanded, with a tag, without a digest.
func checkName(reference string) (string, error) {
	full := WithTag(Expand(reference))
	name, tag, digest := split(full)
	host, path, _ := strings.Cut(name, "/")
	switch {
	case digest != "":
		return "", fmt.Errorf("%.200q cannot name an image, because it has a digest: give it a tag instead", reference)
	case len(full) > maxReference || !hostForm.MatchString(host) || !pathForm.MatchString(path):
		return "", fmt.Errorf("%.200q is no image reference: write it like example.com/name:tag, in lower case", reference)
	case !tagForm.MatchString(tag):
		return "", fmt.Errorf("%.200q has no valid tag: use letters, digits, '.', '_' and '-', at most 128", reference)
	}
	return full, nil
}

// FindName returns the image that was made or imported here as reference: under that very name, with ":latest"
// when it has no tag, or without its digest when the named image has that digest.
func FindName(ctx context.Context, store cache.Store, reference string) (*kilnv1.Name, error) {
	full := Expand(reference)
	name, err := record.GetName(ctx, store, full)
	if !errors.Is(err, cache.ErrNotFound) {
		return name, err
	}
	plain, _, _ := strings.Cut(full, "@")
	_, tag, digest := split(full)
	if tag == "" {
		plain += ":latest"
	} else if digest == "" {
		return nil, err
	}
	name, err = record.GetName(ctx, store, plain)
	if err == nil && digest != "" && name.GetTarget() != digest {
		return nil, fmt.Errorf("image %s: the one named %s here has another digest: %w", full, plain, cache.ErrNotFound)
	}
	return name, err
}
