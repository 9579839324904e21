package plan

import (
	"archive/tar"
	"strings"

	pt "github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/tree"
)

// directory is a generated directory as LinuxKit writes it.
func directory(name string) tree.Entry {
	return tree.Entry{Name: name, Type: tar.TypeDir, Mode: 0o755, ModTime: pt.DefaultTime}
}

// prefixes are the directories that lead to name and name itself, which LinuxKit writes anew for every image.
func prefixes(name string) []tree.Entry {
	var entries []tree.Entry
	for i, c := range name {
		if c == '/' {
			entries = append(entries, directory(name[:i]))
		}
	}
	if !strings.HasSuffix(name, "/") {
		entries = append(entries, directory(name))
	}
	return entries
}

// regular is a generated file as LinuxKit writes it.
func (p *planner) regular(name string, b []byte) (tree.Entry, error) {
	body, err := p.generated(b)
	return tree.Entry{Name: name, Type: tar.TypeReg, Mode: 0o644, ModTime: pt.DefaultTime, Body: body}, err
}
