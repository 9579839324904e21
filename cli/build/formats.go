package build

import (
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
