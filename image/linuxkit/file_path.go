package linuxkit

import (
	"path"
	"slices"
	"strings"
)

// FileName is the name that the tar has for the path of a files: entry. One leading slash counts for nothing, and what else
// is not clean (doubled slashes, "./", a slash at the end) stays as it is written, as in LinuxKit. Unlike there, a path
// with ".." is cleaned; ok is false when it leaves the root.
func FileName(written string) (name string, ok bool) {
	name = strings.TrimPrefix(written, "/")
	if !slices.Contains(strings.Split(name, "/"), "..") {
		return name, true
	}
	name = CleanName(name)
	return name, name != ".." && !strings.HasPrefix(name, "../")
}

// CleanName is a name of the tar without what says nothing: relative and clean, "." for the root.
func CleanName(name string) string {
	return path.Clean(strings.TrimLeft(name, "/"))
}

// Parents are the directories that LinuxKit puts before a name of the tar (moby/build.go, filesystem), outermost first. The
// directory of an absolute name, which two leading slashes make, begins with one that has no name.
func Parents(name string) []string {
	var out []string
	dir := ""
	for _, element := range strings.Split(path.Dir(name), "/") {
		switch {
		case element == ".":
			continue
		case dir == "":
			dir = element
		default:
			dir += "/" + element
		}
		out = append(out, dir)
	}
	return out
}
