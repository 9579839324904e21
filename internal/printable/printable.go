// Package printable makes what others wrote fit for a terminal, a table or a comment. It escapes nothing that could be turned back.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes one printable line of text that others wrote: no escape sequences, no line breaks.
func Line(s string) string {
	plain := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	return strings.TrimRight(strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s), " ")
}
