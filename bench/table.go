package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// table is a measured table: columns name the cells of each row after the first.
type table struct {
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    []row    `json:"rows"`
}

// row is a case with a figure for each column; a NaN-free table: a figure that was not measured has no cell text.
type row struct {
	Case    string             `json:"case"`
	Figures map[string]float64 `json:"figures"`
	Cells   []string           `json:"-"`
}

func (t *table) add(name string, figures map[string]float64, cells ...string) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.Join(cells, " "))
	t.Rows = append(t.Rows, row{Case: name, Figures: figures, Cells: cells})
}

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", t.Title)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  case\t%s\n", strings.Join(t.Columns, "\t"))
	for _, r := range t.Rows {
		fmt.Fprintf(tw, "  %s\t%s\n", r.Case, strings.Join(r.Cells, "\t"))
	}
	tw.Flush()
}
