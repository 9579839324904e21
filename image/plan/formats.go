package plan

import (
	"fmt"
	"slices"
	"strings"
)

// format is one kind of output: LinuxKit's name for it, and the files it consists of.
type format struct {
	name  string
	files []outputFile
}

// outputFile is one file of a format: what follows the build's name, and how its last node is made. The bool is false
// when this build has no such file.
type outputFile struct {
	suffix string
	node   func(*image) (nodeOutput, bool)
}

// allFormats are in the order in which messages list them. A new format is one row.
func allFormats() []format {
	return []format{
		{"tar", []outputFile{{".tar", (*image).tar}}},
		{"docker", []outputFile{{".docker", (*image).docker}}},
		{"kernel+initrd", []outputFile{
			{"-kernel", (*image).kernelFile}, {"-initrd.img", (*image).initrdFile}, {"-cmdline", (*image).cmdlineFile},
		}},
		{"tar-kernel-initrd", []outputFile{{"-initrd.tar", (*image).bootTar}}},
	}
}

// Formats lists the names of all formats.
func Formats() []string {
	var names []string
	for _, f := range allFormats() {
		names = append(names, f.name)
	}
	return names
}

// Suffixes lists what the files of a format add to a build's name; nil for an unknown format.
func Suffixes(name string) []string {
	var suffixes []string
	for _, f := range allFormats() {
		if f.name != name {
			continue
		}
		for _, file := range f.files {
			suffixes = append(suffixes, file.suffix)
		}
	}
	return suffixes
}

// CheckFormats says in one sentence what is wrong with the formats that someone asks for.
func CheckFormats(names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no format was asked for; name at least one of %s", strings.Join(Formats(), ", "))
	}
	taken := map[string]string{}
	for _, name := range names {
		if !slices.Contains(Formats(), name) {
			return fmt.Errorf("unknown format %q; Kiln makes %s", name, strings.Join(Formats(), ", "))
		}
		for _, suffix := range Suffixes(name) {
			other, ok := taken[suffix]
			switch {
			case ok && other == name:
				return fmt.Errorf("format %s is asked for twice; name it once", name)
			case ok:
				return fmt.Errorf("formats %s and %s both write the file NAME%s; ask for one of them, or give each a build of its own", other, name, suffix)
			}
			taken[suffix] = name
		}
	}
	return nil
}
