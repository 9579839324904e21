package report

import (
	"strings"
	"unicode/utf8"

	"github.com/kiln-farm/kiln/internal/printable"
)

// Style says what the text is for.
type Style struct {
	Color bool // a terminal that shows colours
}

// Colours (ECMA-48 SGR).
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	normal = "\x1b[0m"
)

func (s Style) paint(color, text string) string {
	if !s.Color || color == "" || text == "" {
		return text
	}
	return color + text + normal
}

// cell is one field of a table.
type cell struct {
	text  string
	color string
	right bool // aligned at the right, as numbers are
}

func plain(text string) cell          { return cell{text: printable.Line(text)} }
func colored(color, text string) cell { return cell{text: printable.Line(text), color: color} }
func number(text string) cell         { return cell{text: text, right: true} }

// table lines its cells up, two blanks apart. A column that is empty in every row is left out, with its head.
type table struct {
	head []string
	rows [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// lines gives the table's text, each line after indent.
func (t *table) lines(style Style, indent string) []string {
	width := make([]int, len(t.head))
	for _, row := range t.rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	for i, w := range width {
		if w > 0 {
			width[i] = max(w, utf8.RuneCountInString(t.head[i]))
		}
	}
	var head []cell
	for i, text := range t.head {
		c := cell{text: text, color: faint}
		if len(t.rows) > 0 {
			c.right = t.rows[0][i].right
		}
		head = append(head, c)
	}
	var lines []string
	for _, row := range append([][]cell{head}, t.rows...) {
		lines = append(lines, indent+line(style, row, width))
	}
	return lines
}

func line(style Style, row []cell, width []int) string {
	var b strings.Builder
	blanks := 0 // written only before more text, so that no line ends in them
	for i, c := range row {
		if width[i] == 0 {
			continue
		}
		fill := width[i] - utf8.RuneCountInString(c.text)
		if c.right {
			blanks += fill
			fill = 0
		}
		if c.text != "" {
			b.WriteString(strings.Repeat(" ", blanks) + style.paint(c.color, c.text))
			blanks = 0
		} else {
			fill = width[i]
			if c.right {
				fill = 0
			}
		}
		blanks += fill + 2
	}
	return b.String()
}
