// Command modules copies some of a kernel's modules, with all that they need, and writes the modules.dep that
// depmod would, so that an image carries two megabytes of modules and not ninety. Each module says itself what
// it needs (its .modinfo section), so nothing but the files is looked at.
//
//	modules FROM/lib/modules/VERSION TO/lib/modules/VERSION virtio_net overlay …
package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: modules FROM TO MODULE…")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "modules:", err)
		os.Exit(1)
	}
}

func run(from, to string, names []string) error {
	files, err := find(from)
	if err != nil {
		return err
	}
	needs, err := closure(names, func(name string) ([]string, error) {
		file, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("the kernel in %s has no module %s", from, name)
		}
		return dependencies(filepath.Join(from, file))
	})
	if err != nil {
		return err
	}
	kept := make([]string, 0, len(needs))
	for name := range needs {
		kept = append(kept, name)
		if err := copyFile(filepath.Join(from, files[name]), filepath.Join(to, files[name])); err != nil {
			return err
		}
	}
	slices.Sort(kept)
	var list strings.Builder
	for _, name := range kept {
		list.WriteString(files[name] + ":")
		for _, need := range order(name, needs) {
			list.WriteString(" " + files[need])
		}
		list.WriteString("\n")
	}
	return os.WriteFile(filepath.Join(to, "modules.dep"), []byte(list.String()), 0o644)
}

// find lists the modules below dir: name to path in dir.
func find(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".ko") {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files[canonical(strings.TrimSuffix(entry.Name(), ".ko"))] = rel
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for modules: %w", err)
	}
	return files, nil
}

// closure maps each of names, and whatever these need, to what it needs itself.
func closure(names []string, needsOf func(string) ([]string, error)) (map[string][]string, error) {
	needs := map[string][]string{}
	for pending := slices.Clone(names); len(pending) > 0; pending = pending[1:] {
		name := canonical(pending[0])
		if _, done := needs[name]; done {
			continue
		}
		direct, err := needsOf(name)
		if err != nil {
			return nil, err
		}
		needs[name] = direct
		pending = append(pending, direct...)
	}
	return needs, nil
}

// order lists all that name needs, what is to be loaded first at the end (modules.dep(5)).
func order(name string, needs map[string][]string) []string {
	var first []string // what is loaded first comes first
	seen := map[string]bool{name: true}
	var add func(string)
	add = func(name string) {
		for _, need := range needs[name] {
			if !seen[need] {
				seen[need] = true
				add(need)
				first = append(first, need)
			}
		}
	}
	add(name)
	slices.Reverse(first)
	return first
}

// dependencies reads the line "depends=a,b" of a module's .modinfo section.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: %w", path, errors.New("it has no .modinfo section"))
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	return parseInfo(info), nil
}

func parseInfo(info []byte) []string {
	var names []string
	for line := range bytes.SplitSeq(info, []byte{0}) {
		list, ok := strings.CutPrefix(string(line), "depends=")
		if !ok || list == "" {
			continue
		}
		for name := range strings.SplitSeq(list, ",") {
			names = append(names, canonical(name))
		}
	}
	return names
}

// canonical is the kernel's spelling of a module's name.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}
