package leasefile

import (
	"fmt"
	"strings"
)

// iscScanner divides the language that both files of ISC dhcpd are written in (dhcpd.leases(5), FORMAT; common/conflex.c)
// into statements: words up to a ";", or up to the "{" that begins a block. Comments go from "#" to the line's end.
type iscScanner struct {
	s    string
	at   int
	line int
	open []int // lines of the blocks that have not ended
}

// iscWord is a word, a quoted text with its escapes resolved, or one character that is neither.
type iscWord struct {
	text   string
	quoted bool
	line   int
}

// iscStatement ends with ";" or, when a block follows, with "{". One that ends with "}" closes a block, and has no words.
type iscStatement struct {
	words []iscWord
	end   byte // 0 at the file's end
	line  int
}

// is says whether the statement begins with these words.
func (s iscStatement) is(words ...string) bool {
	for i, w := range words {
		if i >= len(s.words) || s.words[i].quoted || !strings.EqualFold(s.words[i].text, w) {
			return false
		}
	}
	return true
}

// word is the i-th word, or nothing.
func (s iscStatement) word(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return s.words[i].text
}

// texts are the words from the i-th, without commas between them.
func (s iscStatement) texts(i int) []string {
	var out []string
	for ; i < len(s.words); i++ {
		if s.words[i].text != "," || s.words[i].quoted {
			out = append(out, s.words[i].text)
		}
	}
	return out
}

// written are the words from the i-th as they were written, with blanks between them.
func (s iscStatement) written(i int) string {
	var out []string
	for ; i < len(s.words); i++ {
		if w := s.words[i]; w.quoted {
			out = append(out, `"`+w.text+`"`)
		} else {
			out = append(out, w.text)
		}
	}
	return strings.Join(out, " ")
}

// head is how messages call the statement.
func (s iscStatement) head() string {
	var out []string
	for _, w := range s.words[:min(2, len(s.words))] {
		out = append(out, w.text)
	}
	return quote(strings.Join(out, " "))
}

// next reads a statement.
func (c *iscScanner) next() (iscStatement, error) {
	var st iscStatement
	for {
		w, ok := c.word()
		if st.line == 0 {
			st.line = w.line
		}
		switch {
		case !ok:
			if len(st.words) > 0 {
				return st, &Error{Line: st.line, Text: fmt.Sprintf("the file ends inside of the statement %s; give the whole file, or end it with \";\"", st.head()), cut: true}
			}
			return st, c.ended()
		case w.quoted:
		case w.text == ";":
			if len(st.words) == 0 { // an empty statement, as behind a block
				st.line = 0
				continue
			}
			st.end = ';'
			return st, nil
		case w.text == "{":
			st.end = '{'
			c.open = append(c.open, st.line)
			if len(c.open) > maxDepth {
				return st, &Error{Line: w.line, Text: fmt.Sprintf("blocks are nested more than %d deep; take some apart", maxDepth)}
			}
			return st, nil
		case w.text == "}":
			if len(c.open) == 0 || len(st.words) > 0 {
				return st, &Error{Line: w.line, Text: "there is a \"}\" where no block ends; \"dhcpd -t -cf FILE\" tells more"}
			}
			c.open = c.open[:len(c.open)-1]
			st.end = '}'
			return st, nil
		}
		if len(st.words) >= maxWords {
			return st, &Error{Line: st.line, Text: fmt.Sprintf("the statement %s has more than %d words; end it with \";\"", st.head(), maxWords)}
		}
		st.words = append(st.words, w)
	}
}

// ended is what is wrong at the file's end.
func (c *iscScanner) ended() error {
	if len(c.open) == 0 {
		return nil
	}
	return &Error{Line: c.open[len(c.open)-1], Text: "the block that begins here has no \"}\" at its end; give the whole file, or see what \"dhcpd -t -cf FILE\" says", cut: true}
}

// skip leaves the block out that a statement has begun, with everything in it.
func (c *iscScanner) skip() error {
	for open := 1; open > 0; {
		w, ok := c.word()
		switch {
		case !ok:
			return c.ended()
		case w.quoted:
		case w.text == "{":
			open++
		case w.text == "}":
			open--
		}
	}
	c.open = c.open[:len(c.open)-1]
	return nil
}

// word reads a word; ok is false at the end.
func (c *iscScanner) word() (w iscWord, ok bool) {
	for ; c.at < len(c.s); c.at++ {
		switch b := c.s[c.at]; {
		case b == '\n':
			c.line++
		case b == ' ' || b == '\t' || b == '\r' || b == '\f' || b == 0:
		case b == '#':
			end := strings.IndexByte(c.s[c.at:], '\n')
			if end < 0 {
				end = len(c.s) - c.at
			}
			c.at += end - 1
		case b == '"':
			return c.text()
		case !iscWordByte(b):
			c.at++
			return iscWord{text: c.s[c.at-1 : c.at], line: c.line}, true
		default:
			start := c.at
			for c.at < len(c.s) && iscWordByte(c.s[c.at]) {
				c.at++
			}
			return iscWord{text: c.s[start:c.at], line: c.line}, true
		}
	}
	return iscWord{line: c.line}, false
}

// iscWordByte says whether b is part of a word. MACs, addresses, dates and names are one word each here.
func iscWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b >= 0x80 || strings.IndexByte("-_.:/@%*~'", b) >= 0
}

// text reads a quoted text: "\001" is octal, "\x01" hexadecimal, and "\" takes any other character as it is. One that the
// file's end cuts off has no end.
func (c *iscScanner) text() (iscWord, bool) {
	w := iscWord{quoted: true, line: c.line}
	c.at++
	plain := c.at
	for plain < len(c.s) && c.s[plain] != '"' && c.s[plain] != '\\' && c.s[plain] != '\n' {
		plain++
	}
	if plain < len(c.s) && c.s[plain] == '"' { // most texts, without a copy
		w.text = c.s[c.at:plain]
		c.at = plain + 1
		return w, true
	}
	var out strings.Builder
	for c.at < len(c.s) {
		b := c.s[c.at]
		c.at++
		switch {
		case b == '"':
			w.text = out.String()
			return w, true
		case b != '\\' || c.at == len(c.s):
			if b == '\n' {
				c.line++
			}
			out.WriteByte(b)
			continue
		}
		b = c.s[c.at]
		switch {
		case b >= '0' && b <= '7':
			out.WriteByte(c.digits(8, 3))
			continue
		case b == 'x':
			c.at++
			out.WriteByte(c.digits(16, 2))
			continue
		case b == 't':
			b = '\t'
		case b == 'r':
			b = '\r'
		case b == 'n':
			b = '\n'
		case b == 'b':
			b = '\b'
		case b == '\n':
			c.line++
		}
		c.at++
		out.WriteByte(b)
	}
	return w, false
}

// digits reads at most most digits of a byte.
func (c *iscScanner) digits(base, most int) byte {
	n := 0
	for ; most > 0 && c.at < len(c.s); most-- {
		d := strings.IndexByte("0123456789abcdef", c.s[c.at]|0x20)
		if c.s[c.at] < '0' || d < 0 || d >= base {
			break
		}
		n = n*base + d
		c.at++
	}
	return byte(n)
}

// iscID reads a client id as both files have it: a quoted text, or bytes in hexadecimal.
func iscID(w iscWord) ([]byte, bool) {
	if w.quoted {
		return []byte(w.text), w.text != ""
	}
	return octets(w.text)
}
