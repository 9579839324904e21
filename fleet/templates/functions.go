package templates

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"
)

// errTooMuch ends a template that does more than it may.
var errTooMuch = errors.New("the template does too much: its loops or the texts that it makes grow without end; make it smaller")

// maxTime bounds a template when the machine is slower than its steps assume.
const maxTime = 2 * time.Second

// Functions are what templates may call beside and, or, not, len, index, slice and the comparisons of text/template.
//
//	json VALUE           VALUE as JSON; a string with its quotes. It is YAML as well
//	yaml VALUE           the same: a double-quoted scalar, or a mapping or sequence in flow style (YAML 1.2 §7.3, §7.4)
//	indent N TEXT        TEXT with N spaces before each line but the first, which stands where the action stands
//	b64 TEXT             base64 (RFC 4648 §4)
//	sha256 TEXT          64 hexadecimal digits
//	default ELSE VALUE   VALUE, or ELSE when it is empty
//	join SEPARATOR LIST  LIST as one text
//	urlquery TEXT        TEXT as it stands in a URL's query
//	printf FORMAT ARGS…  %s %d %q %v %x %t %%, with a width under 1000 and no *
func Functions() []string {
	return []string{"b64", "default", "indent", "join", "json", "printf", "sha256", "urlquery", "yaml"}
}

// withheld are text/template's functions that are not there, and what to do instead.
func withheld() map[string]string {
	return map[string]string{
		"call":    "values are not functions",
		"html":    "use json or yaml to quote a value",
		"js":      "use json to quote a value",
		"print":   "write the values one after the other, or use printf",
		"println": "write the values one after the other, or use printf",
		counter:   "it is Kiln's own",
	}
}

// budget is what one execution may still do.
type budget struct {
	steps, made int
	ends        time.Time
	now         func() time.Time
}

func newBudget(now func() time.Time) *budget {
	return &budget{steps: maxSteps, made: maxMade, now: now, ends: now().Add(maxTime)}
}

// declared are the functions for the parser, which only needs their names.
func declared() template.FuncMap { return newBudget(time.Now).functions() }

func (b *budget) functions() template.FuncMap {
	return template.FuncMap{
		counter: b.count, "json": b.json, "yaml": b.json, "indent": b.indent, "b64": b.base64, "sha256": b.sha256,
		"default": orElse, "join": b.join, "urlquery": b.query, "printf": b.printf,
	}
}

// count is called by every loop and every template with the number of its nodes.
func (b *budget) count(nodes int) (string, error) {
	const call = 4 // what the call itself costs, in nodes
	if b.steps -= nodes + call; b.steps < 0 || b.now().After(b.ends) {
		return "", errTooMuch
	}
	return "", nil
}

// room says whether a text of at most n bytes may be made.
func (b *budget) room(n int) error {
	if n > b.made {
		return errTooMuch
	}
	return nil
}

func (b *budget) take(s string) (string, error) {
	if b.made -= len(s); b.made < 0 {
		return "", errTooMuch
	}
	return s, nil
}

// json writes v so that both JSON and YAML read it back: what JSON leaves bare and YAML does not print (YAML 1.2 §5.1) is
// escaped, and what is no UTF-8 is replaced.
func (b *budget) json(v any) (string, error) {
	if err := b.room(6 * weight(reflect.ValueOf(v), 0)); err != nil {
		return "", err
	}
	var text, out strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // this is no web page, and people read what they configured
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("it cannot be written as JSON: %w", err)
	}
	for _, c := range strings.TrimSuffix(text.String(), "\n") {
		switch {
		case c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0xfeff || c >= 0xfff0 && c <= 0xffff && c != unicode.ReplacementChar:
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			out.WriteRune(c)
		}
	}
	return b.take(out.String())
}

func (b *budget) indent(n int, text string) (string, error) {
	if n < 0 || n > 100 {
		return "", fmt.Errorf("indent %d is not between 0 and 100", n)
	}
	if err := b.room(len(text) + n*strings.Count(text, "\n")); err != nil {
		return "", err
	}
	return b.take(strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", n)))
}

func (b *budget) base64(text string) (string, error) {
	if err := b.room(2 * len(text)); err != nil {
		return "", err
	}
	return b.take(base64.StdEncoding.EncodeToString([]byte(text)))
}

func (b *budget) sha256(text string) (string, error) {
	if b.steps -= len(text) / 256; b.steps < 0 { // as many steps as it takes time
		return "", errTooMuch
	}
	sum := sha256.Sum256([]byte(text))
	return b.take(hex.EncodeToString(sum[:]))
}

func (b *budget) query(text string) (string, error) {
	if err := b.room(3 * len(text)); err != nil {
		return "", err
	}
	return b.take(url.QueryEscape(text))
}

func (b *budget) join(separator string, list []string) (string, error) {
	total := len(separator) * len(list)
	for _, s := range list {
		total += len(s)
	}
	if err := b.room(total); err != nil {
		return "", err
	}
	return b.take(strings.Join(list, separator))
}

// orElse is the function default.
func orElse(otherwise, v any) any {
	if truth, ok := template.IsTrue(v); !ok || !truth {
		return otherwise
	}
	return v
}

// printf formats verb by verb, so that no format can ask for more than there is room for.
func (b *budget) printf(format string, args ...any) (string, error) {
	var out strings.Builder
	for format != "" {
		at := strings.IndexByte(format, '%')
		if at < 0 {
			out.WriteString(format)
			break
		}
		out.WriteString(format[:at])
		format = format[at:]
		end := 1
		for end < len(format) && strings.IndexByte("+-# 0123456789.", format[end]) >= 0 {
			end++
		}
		if end == len(format) {
			return "", errors.New("printf's format ends within a verb; write %% for a percent sign")
		}
		directive, digits := format[:end+1], 0
		for _, c := range directive[1:end] {
			if digits++; !unicode.IsDigit(c) {
				digits = 0
			}
			if digits > 3 {
				return "", fmt.Errorf("printf's %s is wider than 999; use a smaller width", short(directive))
			}
		}
		format = format[end+1:]
		verb := directive[len(directive)-1]
		if verb == '%' {
			out.WriteByte('%')
			continue
		}
		if strings.IndexByte("sdqvxXtfgeocbU", verb) < 0 {
			return "", fmt.Errorf("printf does not know %s; it knows %%s %%d %%q %%v %%x %%t %%%%", short(directive))
		}
		if len(args) == 0 {
			return "", fmt.Errorf("printf has no value for %s; give it as many values as verbs", directive)
		}
		if err := b.room(10*weight(reflect.ValueOf(args[0]), 0) + 1000 + out.Len()); err != nil {
			return "", err
		}
		fmt.Fprintf(&out, directive, args[0])
		args = args[1:]
	}
	if len(args) > 0 {
		return "", errors.New("printf has more values than verbs; leave some out")
	}
	return b.take(out.String())
}

// weight is about how many bytes v has when it is written.
func weight(v reflect.Value, depth int) int {
	if depth > 8 || !v.IsValid() {
		return 8
	}
	total := 16
	switch v.Kind() {
	case reflect.String:
		return v.Len() + 2
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			total += weight(v.Index(i), depth+1)
		}
	case reflect.Map:
		for k, one := range v.Seq2() {
			total += weight(k, depth+1) + weight(one, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			total += 32 + weight(v.Field(i), depth+1)
		}
	case reflect.Interface, reflect.Pointer:
		return weight(v.Elem(), depth+1)
	}
	return total
}

func short(s string) string {
	const most = 20
	if len(s) > most {
		s = s[:most] + "…"
	}
	if !utf8.ValidString(s) {
		return strings.ToValidUTF8(s, "?")
	}
	return s
}
