// Package kmod loads kernel modules and what they need, as modprobe does, for programs that are process 1 of an image.
package kmod

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// modules is what modules.dep says (modules.dep(5)): each module's file, and the files that one needs.
type modules struct {
	files map[string]string   // by name
	needs map[string][]string // by file: all that it needs, what is to be loaded first at the end
}

// parseModules reads modules.dep.
func parseModules(r io.Reader) (modules, error) {
	m := modules{files: map[string]string{}, needs: map[string][]string{}}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		file, needs, ok := strings.Cut(line, ":")
		if !ok {
			return modules{}, fmt.Errorf("modules.dep line %d has no colon", n)
		}
		m.files[moduleName(file)] = file
		m.needs[file] = strings.Fields(needs)
	}
	return m, scanner.Err()
}

// order lists the files to load for the modules named, each once and after those it needs. A name without a
// file is left out: the kernel has it built in, or lacks it.
func (m modules) order(names []string) []string {
	var files []string
	seen := map[string]bool{}
	var add func(file string)
	add = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		for _, need := range slices.Backward(m.needs[file]) {
			add(need)
		}
		files = append(files, file)
	}
	for _, name := range names {
		if file, ok := m.files[strings.ReplaceAll(name, "-", "_")]; ok {
			add(file)
		}
	}
	return files
}

// moduleName is the kernel's name for the module in file: virtio_net for "kernel/drivers/net/virtio-net.ko".
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
