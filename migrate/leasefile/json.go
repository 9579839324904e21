package leasefile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// value is a JSON value with its line. encoding/json knows neither lines nor the comments that Kea's files have.
type value struct {
	kind   byte    // '{', '[', '"' or 'w' for a number, true, false, null
	text   string  // of a text, or as a word is written
	keys   []value // of an object, texts
	items  []value // of a list, or of an object's keys
	line   int
	absent bool // so everything else is empty
}

// get is the value of a key, the last when there are several.
func (v value) get(key string) value {
	for i := len(v.keys) - 1; i >= 0; i-- {
		if v.keys[i].text == key {
			return v.items[i]
		}
	}
	return value{absent: true, line: v.line}
}

// list are the items of a list, and none of anything else.
func (v value) list() []value {
	if v.kind != '[' {
		return nil
	}
	return v.items
}

// jsonReader reads JSON with what Kea allows in it: comments like # …, // … and /* … */ and a comma too many (Kea ARM, "JSON
// Syntax").
type jsonReader struct {
	s      string
	at     int
	line   int
	depth  int
	nodes  int
	follow func(line int, text string) // called with each <?include "…"?>, which is read as null
}

// document reads a file of one value.
func (r *jsonReader) document() (value, error) {
	r.line = 1
	v, err := r.value()
	if err != nil {
		return v, err
	}
	if err := r.blank(); err != nil {
		return v, err
	}
	if r.at < len(r.s) {
		return v, r.fail("there is something behind the end of the configuration; take it out")
	}
	return v, nil
}

func (r *jsonReader) fail(format string, args ...any) error {
	return &Error{Line: r.line, Text: fmt.Sprintf(format, args...)}
}

// blank goes to what is neither blank nor comment.
func (r *jsonReader) blank() error {
	for r.at < len(r.s) {
		rest := r.s[r.at:]
		switch {
		case rest[0] == '\n':
			r.line++
			r.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			r.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			r.at += end
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return r.fail("a comment has no \"*/\" at its end; write it")
			}
			r.line += strings.Count(rest[:end+4], "\n")
			r.at += end + 4
		default:
			return nil
		}
	}
	return nil
}

// peek is the next byte that counts, 0 at the end.
func (r *jsonReader) peek() (byte, error) {
	if err := r.blank(); err != nil || r.at == len(r.s) {
		return 0, err
	}
	return r.s[r.at], nil
}

func (r *jsonReader) value() (value, error) {
	c, err := r.peek()
	if err != nil {
		return value{}, err
	}
	v := value{line: r.line}
	if r.nodes++; r.nodes > maxNodes {
		return v, r.fail("the file has more than %d values; divide it into several files", maxNodes)
	}
	switch {
	case c == 0:
		return v, r.fail("the file ends too early; give the whole file, and see what \"kea-dhcp4 -t FILE\" says")
	case c == '{' || c == '[':
		if r.depth++; r.depth > maxDepth {
			return v, r.fail("values are nested more than %d deep; take some apart", maxDepth)
		}
		v.kind = c
		r.at++
		err = r.members(&v)
		r.depth--
		return v, err
	case c == '"':
		v.kind = c
		v.text, err = r.text()
		return v, err
	case strings.HasPrefix(r.s[r.at:], "<?include"):
		end := strings.Index(r.s[r.at:], "?>")
		if end < 0 {
			return v, r.fail("the <?include has no ?> at its end; write it")
		}
		r.follow(v.line, strings.Trim(r.s[r.at+len("<?include"):r.at+end], " \t\""))
		r.line += strings.Count(r.s[r.at:r.at+end], "\n")
		r.at += end + 2
		v.kind, v.text = 'w', "null"
		return v, nil
	}
	start := r.at
	for r.at < len(r.s) && strings.IndexByte("+-.0123456789abcdefghijklmnopqrstuvwxyzE", r.s[r.at]) >= 0 {
		r.at++
	}
	if v.kind, v.text = 'w', r.s[start:r.at]; v.text == "" {
		return v, r.fail("there is %s where a value must be; see what \"kea-dhcp4 -t FILE\" says", quote(string(rune(c))))
	}
	return v, nil
}

// members reads what an object or a list has, with its end.
func (r *jsonReader) members(v *value) error {
	end := byte('}')
	if v.kind == '[' {
		end = ']'
	}
	for {
		c, err := r.peek()
		if err != nil {
			return err
		}
		if c == end {
			r.at++
			return nil
		}
		if v.kind == '{' {
			key := value{kind: '"', line: r.line}
			if c == '<' { // an include of keys
				if _, err := r.value(); err != nil {
					return err
				}
				if c, err = r.peek(); err != nil {
					return err
				}
				if c == ',' {
					r.at++
				}
				continue
			}
			if c != '"' {
				return r.fail("there is no \"key\" and no \"}\" where one must be; see what \"kea-dhcp4 -t FILE\" says")
			}
			if key.text, err = r.text(); err != nil {
				return err
			}
			if c, err = r.peek(); err != nil || c != ':' {
				if err == nil {
					err = r.fail("there is no \":\" behind the key %s; write it", quote(key.text))
				}
				return err
			}
			r.at++
			v.keys = append(v.keys, key)
		}
		item, err := r.value()
		if err != nil {
			return err
		}
		v.items = append(v.items, item)
		if c, err = r.peek(); err != nil {
			return err
		}
		if c == ',' {
			r.at++
		} else if c != end {
			return r.fail("there is no \",\" and no %q where one must be; see what \"kea-dhcp4 -t FILE\" says", end)
		}
	}
}

// text reads a text, whose escapes are those of JSON (RFC 8259 §7).
func (r *jsonReader) text() (string, error) {
	r.at++
	var out strings.Builder
	for r.at < len(r.s) {
		n := strings.IndexAny(r.s[r.at:], "\"\\\n")
		if n < 0 {
			break
		}
		c := r.s[r.at+n]
		out.WriteString(r.s[r.at : r.at+n])
		r.at += n + 1
		switch {
		case c == '"':
			return out.String(), nil
		case c == '\n' || r.at == len(r.s):
			return "", r.fail("a text has no quote at its line's end; write it")
		}
		c = r.s[r.at]
		r.at++
		if c == 'u' {
			out.WriteRune(r.unicode())
			continue
		}
		if i := strings.IndexByte("bfnrt", c); i >= 0 {
			c = "\b\f\n\r\t"[i]
		}
		out.WriteByte(c)
	}
	return "", r.fail("the file ends inside of a text; give the whole file")
}

// unicode reads what is behind "\u", with the second half of a pair.
func (r *jsonReader) unicode() rune {
	half := func() rune {
		if len(r.s)-r.at < 4 {
			return utf8.RuneError
		}
		n, err := strconv.ParseUint(r.s[r.at:r.at+4], 16, 16)
		if err != nil {
			return utf8.RuneError
		}
		r.at += 4
		return rune(n)
	}
	first := half()
	if utf16.IsSurrogate(first) && strings.HasPrefix(r.s[r.at:], `\u`) {
		r.at += 2
		return utf16.DecodeRune(first, half())
	}
	return first
}
