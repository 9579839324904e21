package iso9660

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Lengths of names in characters, without the version.
const (
	maxISOName    = 30 // of a file, ECMA-119 §7.5.1; a dot is not counted
	maxISODir     = 31 // ECMA-119 §7.6.3
	maxExtension  = 8  // what is kept of one when a name is too long
	maxJolietName = 103
	version       = ";1" // of a file
)

// naming makes names of a volume. Names with the same stem and extension are told apart by a number in the stem.
type naming interface {
	// split is a name as stem and extension, "" for none, in characters that are allowed.
	split(name string, dir bool) (stem, extension string)
	// join is the identifier of a name, cut to what fits, with the mark at the end of its stem.
	join(stem, mark, extension string, dir bool) string
}

// identifiers are the names of a directory's children as the volume has them, each only once. The first of the same ones
// keeps its name; children are in the order of their real names, so this is always the same one.
func identifiers(n naming, names []string, dirs []bool) []string {
	out, used := make([]string, len(names)), make(map[string]bool, len(names))
	for i, name := range names {
		stem, extension := n.split(name, dirs[i])
		if id := n.join(stem, "", extension, dirs[i]); !used[id] {
			out[i], used[id] = id, true
		}
	}
	for i, name := range names {
		// The place among the children is a number that no other one has; one more is needed only where a file has such a name.
		for number := i; out[i] == ""; number += len(names) {
			stem, extension := n.split(name, dirs[i])
			if id := n.join(stem, "_"+strings.ToUpper(strconv.FormatInt(int64(number), 36)), extension, dirs[i]); !used[id] {
				out[i], used[id] = id, true
			}
		}
	}
	return out
}

// isoNames are those of ECMA-119 §7: capitals, digits and _, one dot before the extension of a file.
type isoNames struct{}

func (isoNames) split(name string, dir bool) (stem, extension string) {
	stem = name
	if i := strings.LastIndexByte(name, '.'); i > 0 && !dir {
		stem, extension = name[:i], name[i+1:]
	}
	return isoChars(stem), isoChars(extension)
}

func (isoNames) join(stem, mark, extension string, dir bool) string {
	if dir {
		return stem[:min(len(stem), maxISODir-len(mark))] + mark
	}
	if len(stem)+len(mark)+len(extension) > maxISOName {
		extension = extension[:min(len(extension), maxExtension)]
	}
	stem = stem[:min(len(stem), maxISOName-len(mark)-len(extension))]
	return stem + mark + "." + extension
}

func isoChars(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, s)
}

// jolietNames are in UCS-2, big endian, without * / : ; ? \ and control characters (Joliet Specification, "Allowed
// Character Set").
type jolietNames struct{}

func (jolietNames) split(name string, dir bool) (stem, extension string) {
	stem = name
	if i := strings.LastIndexByte(name, '.'); i > 0 && !dir && utf8.RuneCountInString(name[i:]) <= maxExtension+1 {
		stem, extension = name[:i], name[i:]
	}
	return jolietChars(stem), jolietChars(extension)
}

func (jolietNames) join(stem, mark, extension string, _ bool) string {
	stem = stem[:min(len(stem), 2*maxJolietName-2*len(mark)-len(extension))]
	return stem + ucs2(mark) + extension
}

func jolietChars(s string) string {
	return ucs2(strings.Map(func(c rune) rune {
		if c < ' ' || c > 0xffff || c == utf8.RuneError || utf16.IsSurrogate(c) || strings.ContainsRune(`*/:;?\`, c) {
			return '_'
		}
		return c
	}, s))
}

// ucs2 is s in UCS-2, big endian.
func ucs2(s string) string {
	out := make([]byte, 0, 2*len(s))
	for _, c := range s {
		out = append(out, byte(c>>8), byte(c))
	}
	return string(out)
}
