package fleet

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// maxLines is how many lines of a template's difference are drawn.
const maxLines = 40

// WriteDiff draws changes for people:
//
//	~ machine web-1
//	    ~ release: v1 -> v2
//	    + labels.rack: a
//	    ~ secrets.password: changed
//	- group old
//	1 changed, 1 removed
func WriteDiff(w io.Writer, changes []Change) error {
	var b strings.Builder
	counts := map[Op]int{}
	for _, c := range changes {
		counts[c.Op]++
		fmt.Fprintf(&b, "%c %s %s\n", c.Op, c.Kind, bare(c.Name))
		for _, f := range c.Fields {
			f.write(&b)
		}
	}
	if len(changes) == 0 {
		b.WriteString("nothing changes\n")
	} else {
		b.WriteString(summary(counts) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func summary(counts map[Op]int) string {
	var parts []string
	for _, one := range []struct {
		op   Op
		word string
	}{{Added, "added"}, {Changed, "changed"}, {Removed, "removed"}} {
		if n := counts[one.op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, one.word))
		}
	}
	return strings.Join(parts, ", ")
}

func (f FieldChange) write(b *strings.Builder) {
	fmt.Fprintf(b, "    %c %s: ", f.Op, printable(f.Name))
	switch {
	case f.Secret:
		b.WriteString(map[Op]string{Added: "set", Removed: "removed", Changed: "changed"}[f.Op] + "\n")
	case strings.Contains(f.Old+f.New, "\n"):
		b.WriteString("\n")
		lines(b, f.Old, f.New)
	case f.Op == Changed:
		fmt.Fprintf(b, "%s -> %s\n", printable(f.Old), printable(f.New))
	default:
		b.WriteString(printable(f.Old+f.New) + "\n")
	}
}

// lines draws the lines between those that both texts begin and end with.
func lines(b *strings.Builder, old, new string) {
	a, c := split(old), split(new)
	for len(a) > 0 && len(c) > 0 && a[0] == c[0] {
		a, c = a[1:], c[1:]
	}
	for len(a) > 0 && len(c) > 0 && a[len(a)-1] == c[len(c)-1] {
		a, c = a[:len(a)-1], c[:len(c)-1]
	}
	if len(a)+len(c) == 0 { // of a last line only its end differs
		b.WriteString("        the end of the last line\n")
	}
	draw(b, '-', a)
	draw(b, '+', c)
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

func draw(b *strings.Builder, op byte, all []string) {
	for i, line := range all {
		if i == maxLines {
			fmt.Fprintf(b, "        %c … and %d lines more\n", op, len(all)-i)
			return
		}
		fmt.Fprintf(b, "        %c %s\n", op, printable(line))
	}
}

// printable keeps what a terminal would obey from it.
func printable(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return c != '\t' && !unicode.IsPrint(c) }) {
		return strconv.Quote(s)
	}
	return s
}
