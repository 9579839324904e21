package config

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxPath  = 512 // bytes, with a token
	maxParts = 8
	// prefix is before a token.
	prefix = "/m/"
)

// Split takes a request's path apart: the token, "" when there is none, and the parts of the document's path. It refuses
// every path that is not the one way to write what it means.
func Split(path string) (token string, parts []string, err error) {
	if len(path) > maxPath || !strings.HasPrefix(path, "/") {
		return "", nil, fmt.Errorf("%w: the path is too long or does not begin with \"/\"", ErrNotFound)
	}
	if rest, ok := strings.CutPrefix(path, prefix); ok {
		token, path, _ = strings.Cut(rest, "/")
		if token == "" {
			return "", nil, fmt.Errorf("%w: behind /m/ stands a boot token", ErrNotFound)
		}
		path = "/" + path
	}
	path = strings.TrimSuffix(path[1:], "/") // a directory is the same with and without
	if path == "" {
		return token, nil, nil
	}
	parts = strings.Split(path, "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || strings.ContainsFunc(p, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }) {
			return "", nil, fmt.Errorf("%w: the path has a part that no document has", ErrNotFound)
		}
	}
	if len(parts) > maxParts {
		return "", nil, fmt.Errorf("%w: the path has too many parts", ErrNotFound)
	}
	return token, parts, nil
}

// Serves says whether a fixed path, without a token, is one of the documents here: for whoever has other paths as well.
func Serves(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "m" || isEC2([]string{first}) || slices.Contains([]string{"nocloud", "openstack", "ignition", "kv", "linuxkit"}, first) ||
		slices.ContainsFunc(clouds(), func(c cloud) bool { return c.under == first })
}

// Render makes one of a machine's documents. secrets says whether templates may use the machine's; the error is ErrNotFound,
// templates.ErrSecrets, or a fault of a template that says where it is.
func (r *Record) Render(parts []string, secrets bool) (Content, error) {
	if len(parts) == 0 {
		return Content{Type: plain, Body: strings.Join(versions(), "\n")}, nil
	}
	first, rest := parts[0], parts[1:]
	for _, c := range clouds() {
		if c.under == first {
			return c.document(r, rest, secrets)
		}
	}
	switch {
	case isEC2(parts):
		return r.ec2(rest, secrets)
	case first == "nocloud":
		return r.nocloud(rest, secrets)
	case first == "openstack":
		return r.openstack(rest, secrets)
	case len(rest) > 0:
		return Content{}, missing(parts)
	case first == "ignition":
		return r.ignition(secrets)
	case first == "kv":
		return r.kv()
	case first == "linuxkit":
		return r.linuxkit(secrets)
	}
	return Content{}, missing(parts)
}
