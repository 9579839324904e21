// Package ipxe writes what comes from outside into iPXE scripts, whose language has no quoting.
package ipxe

import (
	"fmt"
	"strings"
)

// Arguments are a command line as iPXE passes it on. iPXE has no quoting: it expands ${…} anywhere and takes &&, || and ; for
// its own and # for a comment, so a command line with those words is refused, as is one that would start another line of the script.
func Arguments(cmdline string) (string, error) {
	if strings.Contains(cmdline, "${") {
		return "", fmt.Errorf("the kernel command line holds ${, which iPXE would replace; boot it by another way, or change the command line")
	}
	var out strings.Builder
	for _, word := range strings.Fields(cmdline) {
		if word == "&&" || word == "||" || word == ";" || word[0] == '#' {
			return "", fmt.Errorf("the kernel command line holds the word %s, which iPXE takes for its own; change the command line", word)
		}
		out.WriteString(" " + word)
	}
	for _, c := range out.String() {
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("the kernel command line holds the control character %q, which a script cannot; change the command line", c)
		}
	}
	return out.String(), nil
}

// Printable keeps what may stand in an echo.
func Printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("-_.+", c) {
			return c
		}
		return '_'
	}, s)
}
