package fat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kiln-farm/kiln/image/step"
)

const (
	maxName  = 255 // UTF-16 units of a long name
	unitsPer = 13  // UTF-16 units in an entry of a long name
)

// shortName is a name of 8.3 as a directory entry has it: filled up with spaces, without the dot.
type shortName [11]byte

// blankLabel is the label of a volume that has none.
var blankLabel = shortName([]byte("           "))

// fold is what names are the same by.
func fold(name string) string { return strings.Map(unicode.ToUpper, name) }

// checkName says what is wrong with one component of a path: "" when nothing is.
func checkName(name string) string {
	switch {
	case name == "":
		return "has an empty part"
	case name == "." || name == "..":
		return "has a part " + name
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case len(utf16.Encode([]rune(name))) > maxName:
		return fmt.Sprintf("has a part of more than %d UTF-16 units", maxName)
	case strings.HasPrefix(name, " ") || strings.HasSuffix(name, " ") || strings.HasSuffix(name, "."):
		return "has a part that begins with a space or ends in a space or a dot, which readers of FAT ignore"
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`"*/:<>?\|`, r) {
			return fmt.Sprintf("has the character %q, which FAT does not allow", r)
		}
	}
	return ""
}

// labelOf is a volume label as the boot sector and the root directory have it; of spaces when there is none.
func labelOf(text string) (label shortName, err error) {
	upper := strings.ToUpper(text)
	label = blankLabel
	ok := len(upper) <= len(label) && upper == strings.TrimSpace(upper)
	for i := 0; ok && i < len(upper); i++ {
		ok = upper[i] == ' ' || shortByte(upper[i])
		label[i] = upper[i]
	}
	if !ok {
		return label, step.Failf("%q cannot be the label of a FAT volume: choose up to %d letters, digits, - or _", text, len(label))
	}
	return label, nil
}

// shortByte says whether a short name may have c.
func shortByte(c byte) bool {
	return 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("$%'-_@~`!(){}^#&", c) >= 0
}

// exactShort is the short name that differs from name in nothing but case. ok is false when there is none.
func exactShort(name string) (short shortName, ok bool) {
	base, ext, dotted := strings.Cut(strings.ToUpper(name), ".")
	if base == "" || len(base) > 8 || len(ext) > 3 || dotted && ext == "" {
		return short, false
	}
	short = blankLabel
	for i := range len(base) {
		if !shortByte(base[i]) {
			return short, false
		}
		short[i] = base[i]
	}
	for i := range len(ext) {
		if !shortByte(ext[i]) {
			return short, false
		}
		short[8+i] = ext[i]
	}
	return short, true
}

// text is the short name with its dot.
func (s shortName) text() string {
	base, ext := strings.TrimRight(string(s[:8]), " "), strings.TrimRight(string(s[8:]), " ")
	if ext != "" {
		return base + "." + ext
	}
	return base
}

// checksum ties the entries of a long name to the short one ("ChkSum" in the specification).
func (s shortName) checksum() byte {
	var sum byte
	for _, c := range s {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// aliases gives the names of one directory short names.
type aliases struct {
	taken map[shortName]bool
	next  map[string]int // of each basis, the number to try
}

// alias is a short name for a name that has no exact one: the basis name with a numeric tail ("The Basis-Name Generation
// Algorithm" and "The Numeric-Tail Generation Algorithm" in the specification). ok is false when all are taken.
func (a *aliases) alias(name string) (short shortName, ok bool) {
	base, ext := basis(name)
	for n := a.next[base+"."+ext] + 1; n <= 999999; n++ {
		tail := fmt.Sprintf("~%d", n)
		short, _ = exactShort(strings.TrimSuffix(base[:min(len(base), 8-len(tail))]+tail+"."+ext, "."))
		if !a.taken[short] {
			a.taken[short] = true
			a.next[base+"."+ext] = n
			return short, true
		}
	}
	return short, false
}

// basis is what is left of a name in a short one: up to 8 and 3 characters, with _ for what it cannot have.
func basis(name string) (base, ext string) {
	name = strings.TrimLeft(strings.ReplaceAll(strings.ToUpper(name), " ", ""), ".")
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		name, ext = name[:dot], name[dot+1:]
	}
	keep := func(s string, most int) string {
		var out []byte
		for _, r := range s {
			if r == '.' || len(out) == most {
				continue
			}
			if r < utf8.RuneSelf && shortByte(byte(r)) {
				out = append(out, byte(r))
			} else {
				out = append(out, '_')
			}
		}
		return string(out)
	}
	return keep(name, 6), keep(ext, 3)
}
