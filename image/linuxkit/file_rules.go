package linuxkit

import (
	"path"
	"strconv"
	"strings"
)

// maxMode is the largest mode of a file: permissions, setuid, setgid and sticky bits.
const maxMode = 0o7777

func (r *rules) fileEntry(f *value, where string) {
	r.filePath(f, where)
	if mode := f.get("mode"); mode.str() != "" {
		if n, err := strconv.ParseUint(mode.str(), 8, 32); err != nil || n > maxMode {
			r.complain(mode, "%s.mode %s is not an octal mode; write it like \"0644\"", where, quoteShort(mode.str()))
		}
	}
	r.id(f.get("uid"), where+".uid")
	r.id(f.get("gid"), where+".gid")
	r.body(f, where)
}

// filePath keeps files below the root. What LinuxKit takes and stays there is taken.
func (r *rules) filePath(f *value, where string) {
	v := f.get("path")
	if v.str() == "" {
		r.complain(f, "%s has no path; add one, such as \"path: etc/motd\"", where)
		return
	}
	name, inside := FileName(v.str())
	directory, clean := f.get("directory").isTrue(), CleanName(name)
	switch {
	case !inside:
		r.complain(v, "%s.path %s leaves the root filesystem; write it without \"..\"", where, quoteShort(v.str()))
	case strings.ContainsRune(name, 0), !directory && clean == ".":
		r.complain(v, "%s.path %s names no file; write it like \"etc/motd\"", where, quoteShort(v.str()))
	case !directory && path.Base(name) == "." && !strings.HasSuffix(name, "/"):
		r.complain(v, "%s.path %s names a directory; write %q, or add \"directory: true\"", where, quoteShort(v.str()), clean)
	case !directory && f.get("symlink").str() == "" && strings.HasSuffix(name, "/") && (f.get("contents").str() != "" || f.get("metadata").str() != ""):
		r.complain(v, "%s.path %s ends in a slash, as directories do, but the file holds something; write %q", where, quoteShort(v.str()), clean)
	}
}

// body wants exactly one of what a file can be. As in LinuxKit, a directory may have a symlink's target and a symlink
// contents, which then count for nothing.
func (r *rules) body(f *value, where string) {
	var kinds, bodies []string
	if f.get("directory").isTrue() {
		kinds = append(kinds, "directory")
	}
	if f.get("symlink").str() != "" {
		kinds = append(kinds, "symlink")
	}
	if f.get("contents") != nil {
		bodies = append(bodies, "contents")
	}
	if f.get("source").str() != "" {
		bodies = append(bodies, "source")
	}
	if m := f.get("metadata"); m.str() != "" {
		bodies = append(bodies, "metadata")
		if m.str() != "yaml" && m.str() != "json" {
			r.complain(m, "%s.metadata %s is unknown; write \"yaml\" or \"json\"", where, quoteShort(m.str()))
		}
	}
	have := append(kinds, bodies...)
	switch onlySymlink := len(kinds) == 1 && kinds[0] == "symlink"; {
	case len(have) == 0:
		r.complain(f, "%s says nothing of what the file holds; add one of contents, source, metadata, symlink or \"directory: true\"", where)
	case len(bodies) > 1, len(bodies) == 1 && len(kinds) > 0 && !(onlySymlink && bodies[0] == "contents"):
		r.complain(f, "%s has %s; keep one of them", where, join(have))
	}
}
