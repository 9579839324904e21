package pull

import (
	"net/http"
	"strings"
)

// challenge is one way in that a registry offers (RFC 9110 §11.6.1).
type challenge struct {
	scheme string // in lower case: "bearer", "basic"
	params map[string]string
}

// maxChallenges bounds what an answer can make its reader remember.
const maxChallenges = 16

// challenges reads all WWW-Authenticate headers. One header may hold several challenges, separated by the same commas as
// their parameters.
func challenges(h http.Header) []challenge {
	var all []challenge
	for _, value := range h.Values("WWW-Authenticate") {
		all = append(all, parseChallenges(value)...)
	}
	return all[:min(len(all), maxChallenges)]
}

// parseChallenges reads one header. What it does not understand it leaves out: another challenge may do.
func parseChallenges(s string) (all []challenge) {
	for len(all) < maxChallenges {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return all
		}
		scheme, rest := token(s)
		if scheme == "" {
			s = nextComma(s)
			continue
		}
		c := challenge{strings.ToLower(scheme), map[string]string{}}
		s = rest
		for {
			name, value, rest, ok := parameter(s)
			if !ok {
				break
			}
			if _, twice := c.params[name]; !twice {
				c.params[name] = value
			}
			s = rest
		}
		all = append(all, c)
		s = strings.TrimLeft(s, " \t")
		if word, rest := token(s); word == "" || rest != "" && !strings.ContainsAny(rest[:1], " \t,") {
			s = nextComma(s) // what schemes such as Negotiate have in the place of parameters (token68)
		}
	}
	return all
}

func nextComma(s string) string {
	if comma := strings.IndexByte(s, ','); comma >= 0 {
		return s[comma:]
	}
	return ""
}

// parameter reads `name = value` with the commas before it. What follows a comma and is no parameter begins another challenge.
func parameter(s string) (name, value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	name, s = token(s)
	s = strings.TrimLeft(s, " \t")
	if name == "" || !strings.HasPrefix(s, "=") {
		return "", "", "", false
	}
	s = strings.TrimLeft(s[1:], " \t")
	if strings.HasPrefix(s, `"`) {
		value, rest, ok = quoted(s[1:])
	} else {
		value, rest = token(s)
		ok = value != ""
	}
	return strings.ToLower(name), value, rest, ok
}

// quoted reads a quoted-string behind its first quote (RFC 9110 §5.6.4).
func quoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// token reads a token (RFC 9110 §5.6.2).
func token(s string) (token, rest string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:]
}
