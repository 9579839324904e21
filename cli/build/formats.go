package build

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/image/plan"
)

// outputFormat is a format and the endings of its files' names. Files that would be empty are left out.
type outputFormat struct {
	name  string
	files []string
}

func formatNames() string { return strings.Join(plan.Formats(), ", ") }

func findFormat(name string) (outputFormat, error) {
	if files := plan.Suffixes(name); files != nil {
		return outputFormat{name, files}, nil
	}
	return outputFormat{}, ui.Usagef("--format %q: there is no such format; choose of %s", name, formatNames())
}

// target is a file that a build will write.
type target struct {
	platform string
	suffix   string
	path     string
}

// targets are the files that a build may write, before it is known which of them are empty. Two of one name are
// refused here, before anything is built.
func (o *buildOptions) targets() ([]target, error) {
	var out []target
	owner := map[string]string{}
	claim := func(path, what string) error {
		clean := filepath.Clean(path)
		if other, taken := owner[clean]; taken {
			return ui.Usagef("%s and %s would both be written to %s: give one of them another name", other, what, path)
		}
		owner[clean] = what
		return nil
	}
	for _, arch := range o.archs {
		for _, format := range o.formats {
			for _, suffix := range format.files {
				if slices.ContainsFunc(out, func(t target) bool { return t.platform == "linux/"+arch && t.suffix == suffix }) {
					continue // the same file in two formats
				}
				path := o.output
				if path == "" {
					path = filepath.Join(o.dirFor(arch), o.name+suffix)
				}
				if err := claim(path, "format "+format.name+" ("+arch+")"); err != nil && o.output == "" {
					return nil, err
				}
				out = append(out, target{"linux/" + arch, suffix, path})
			}
		}
	}
	if o.output != "" && len(out) > 1 {
		return nil, ui.Usagef("--output is for a single file, and this build has %d: leave it out, or ask for one architecture and one of the formats tar, docker, tar-kernel-initrd", len(out))
	}
	if o.metadata != "" {
		if err := claim(o.metadata, "--metadata-file"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dirFor is where the files of an architecture go: amd64, amd64_v3.
func (o *buildOptions) dirFor(arch string) string {
	if len(o.archs) > 1 {
		return filepath.Join(o.dir, strings.ReplaceAll(arch, "/", "_"))
	}
	return o.dir
}
