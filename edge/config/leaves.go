package config

import (
	"maps"
	"slices"
	"strings"
)

// leaves are the documents of one line below a cloud's path, by path. One that is known and empty is not there for this machine:
// whoever asks for it is told so, as clouds do, and nobody takes note.
type leaves map[string]string

// at is a leaf, or a directory as EC2 and those after it write it: a name on each line, those of directories with "/", and keys with
// their number and name.
func (l leaves) at(path []string) (Content, error) {
	at := strings.Join(path, "/")
	v, known := l[at]
	if v != "" {
		return Content{Type: plain, Body: v}, nil
	}
	if list := l.listing(at); list != "" {
		return Content{Type: plain, Body: list}, nil
	}
	if known {
		return Content{}, absent{at}
	}
	return Content{}, missing(path)
}

// listing is a directory; "" is none.
func (l leaves) listing(at string) string {
	if at != "" {
		at += "/"
	}
	children := map[string]bool{}
	for leaf, v := range l {
		rest, ok := strings.CutPrefix(leaf, at)
		if !ok || v == "" {
			continue
		}
		name, _, directory := strings.Cut(rest, "/")
		if directory {
			name += "/"
		}
		if at == "public-keys/" {
			name = strings.TrimSuffix(name, "/") + "=kiln"
		}
		children[name] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(children)), "\n")
}

// below adds leaves under a directory.
func (l leaves) below(directory string, more leaves) {
	for k, v := range more {
		l[directory+"/"+k] = v
	}
}

// absent is what clients ask every machine for and this one lacks. It is an ErrNotFound.
type absent struct{ at string }

func (a absent) Error() string {
	return ErrNotFound.Error() + " as " + quoted(a.at) + " for this machine"
}

func (a absent) Unwrap() error { return ErrNotFound }
