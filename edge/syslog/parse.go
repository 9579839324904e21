package syslog

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Message is one message.
type Message struct {
	Severity int    // 0 (emergency) to 7 (debug); 5 (notice) when the message does not say
	Text     string // one line of printable text, without what only a collector needs
}

const (
	defaultSeverity = 5
	maxText         = 400 // bytes
)

// severities are the names of RFC 5424's table 2.
var severities = [8]string{"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"}

// Name of the severity.
func (m Message) Name() string { return severities[m.Severity&7] }

// Parse reads a datagram in either format, or in none: boot programs write what they like behind the priority. It never fails;
// the text is empty when there is nothing to read.
func Parse(data []byte) Message {
	m := Message{Severity: defaultSeverity}
	s := strings.ToValidUTF8(string(data), "?")
	if priority, rest, ok := cutPriority(s); ok {
		m.Severity, s = priority%8, rest
	}
	if rest, ok := strings.CutPrefix(s, "1 "); ok {
		s = modern(rest)
	} else {
		s = withoutDate(s)
	}
	m.Text = printable(s)
	return m
}

// cutPriority takes "<13>" off, of at most three digits (RFC 5424 §6.2.1).
func cutPriority(s string) (priority int, rest string, ok bool) {
	if !strings.HasPrefix(s, "<") {
		return 0, s, false
	}
	digits, rest, found := strings.Cut(s[1:], ">")
	if !found || digits == "" || len(digits) > 3 {
		return 0, s, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, s, false
		}
		priority = priority*10 + int(c-'0')
	}
	return priority, rest, priority < 192
}

// modern reads what is behind the version of RFC 5424: TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]. The
// application's name stays.
func modern(s string) string {
	fields := strings.SplitN(s, " ", 6)
	if len(fields) < 6 {
		return s
	}
	app, text := fields[2], withoutData(fields[5])
	if app == "-" {
		return text
	}
	return app + ": " + text
}

// withoutData leaves structured data out: "-", or elements in brackets whose values may hold escaped brackets (§6.3).
func withoutData(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return strings.TrimPrefix(rest, " ")
	}
	for strings.HasPrefix(s, "[") {
		end, quoted, escaped := -1, false, false
		for i := 1; i < len(s) && end < 0; i++ {
			switch {
			case escaped:
				escaped = false
			case s[i] == '\\':
				escaped = true
			case s[i] == '"':
				quoted = !quoted
			case s[i] == ']' && !quoted:
				end = i
			}
		}
		if end < 0 {
			return s
		}
		s = s[end+1:]
	}
	return strings.TrimPrefix(strings.TrimPrefix(s, " "), "\ufeff")
}

// withoutDate leaves the "Mmm dd hh:mm:ss " of RFC 3164 out. The time of the line is when it came.
func withoutDate(s string) string {
	const form = "Jan _2 15:04:05 "
	if len(s) < len(form) || s[3] != ' ' || s[6] != ' ' || s[9] != ':' || s[12] != ':' || s[15] != ' ' {
		return s
	}
	if !strings.Contains("JanFebMarAprMayJunJulAugSepOctNovDec", s[:3]) {
		return s
	}
	return s[len(form):]
}

// printable makes one line of text, of at most maxText bytes.
func printable(s string) string {
	var b strings.Builder
	blank := false
	for _, r := range s {
		if unicode.IsSpace(r) || r == 0 {
			blank = b.Len() > 0
			continue
		}
		if !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+1+utf8.RuneLen(r) > maxText {
			break
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
