package templates

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/internal/nearest"
)

// What text/template says of names that are not there. Neither has anything in it but the template's own text.
var (
	missing = regexp.MustCompile(`^(?s:.*)<(\.?[^<>]*)>: map has no entry for key "([^"]*)"$`)
	noField = regexp.MustCompile(`^(?s:.*)<(\.?[^<>]*)>: can't evaluate field (\S+) in type (?:templates\.)?(\S+)$`)
)

// unknownName is a sentence about a name that is not there, with the nearest one that is.
func unknownName(text string, d *Data) string {
	if m := noField.FindStringSubmatch(text); m != nil {
		fields, ok := map[string][]string{"Data": append(fieldsOf(Data{}), "Secrets"), "Machine": fieldsOf(Machine{})}[m[3]]
		if !ok {
			return fmt.Sprintf("%s: there is no %s in it, since it is no machine but %s", m[1], m[2], thing(m[3]))
		}
		slices.Sort(fields)
		if near := nearest.To(m[2], fields); near != "" {
			return fmt.Sprintf("%s: there is no field %s; did you mean %s?", m[1], m[2], near)
		}
		return fmt.Sprintf("%s: there is no field %s; there are %s", m[1], m[2], strings.Join(fields, ", "))
	}
	m := missing.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	has, remedy := slices.Sorted(maps.Keys(d.Values)), `give the machine or its group that value, or write default "…" (index .Values "…")`
	switch {
	case strings.Contains(m[1], ".Secrets"):
		has, remedy = nil, "give the machine that secret"
		if d.secrets != nil {
			has = slices.Sorted(maps.Keys(d.secrets.values))
		}
	case strings.Contains(m[1], ".Labels"):
		has, remedy = slices.Sorted(maps.Keys(d.Machine.Labels)), `give the machine that label, or write default "…" (index .Machine.Labels "…")`
	case !strings.Contains(m[1], ".Values"):
		has = nil
	}
	if near := nearest.To(m[2], has); near != "" {
		remedy = fmt.Sprintf("did you mean %s? Otherwise %s", near, remedy)
	}
	return text + "; " + remedy
}

// fieldsOf are the fields of a struct that templates see.
func fieldsOf(v any) []string {
	var names []string
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			names = append(names, t.Field(i).Name)
		}
	}
	return names
}

// thing is a type of Go in a sentence.
func thing(of string) string {
	switch {
	case strings.HasPrefix(of, "map["):
		return "values by name"
	case strings.HasPrefix(of, "[]"):
		return "a list"
	}
	return "a text"
}
