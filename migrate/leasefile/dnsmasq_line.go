package leasefile

import "strings"

// dnsmasqField is a part of a value between commas.
type dnsmasqField struct {
	text   string
	quoted bool // so it is a text, whatever it looks like
}

// dnsmasqLine takes a line of a configuration apart: "key=a,b # comment". Quotes keep commas, "#" and blanks, and inside of
// them "\" keeps a quote (dnsmasq(8), CONFIG FILE; option.c, read_file). Without key the whole line is a value.
func dnsmasqLine(s string, withKey bool) (key string, fields []dnsmasqField) {
	var text strings.Builder
	var f dnsmasqField
	inQuotes := false
	flush := func() {
		f.text = text.String()
		if !f.quoted {
			f.text = strings.TrimSpace(f.text)
		}
		fields = append(fields, f)
		text.Reset()
		f = dnsmasqField{}
	}
	hadKey := !withKey
scan:
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			if inQuotes = !inQuotes; inQuotes {
				if strings.TrimSpace(text.String()) == "" {
					text.Reset() // blanks before it
				}
				f.quoted = true
			}
		case inQuotes && c == '\\' && i+1 < len(s):
			i++
			text.WriteByte(s[i])
		case inQuotes:
			text.WriteByte(c)
		case c == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t'):
			break scan
		case c == '=' && !hadKey:
			hadKey = true
			key = strings.TrimSpace(text.String())
			text.Reset()
		case c == ',' && hadKey && len(fields) < maxWords:
			flush()
		case f.quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n'):
		default:
			text.WriteByte(c)
		}
	}
	if !hadKey {
		return strings.TrimSpace(text.String()), nil
	}
	if flush(); len(fields) == 1 && fields[0].text == "" && !fields[0].quoted {
		fields = nil
	}
	return key, fields
}

// dnsmasqTags takes the "tag:x" and "set:x" off that stand before a value; "net:" is the old word for both, and its meaning
// depends on the option.
func dnsmasqTags(fields []dnsmasqField, net *[]string) (tags, sets []string, rest []dnsmasqField) {
	for i, f := range fields {
		word, tag, ok := strings.Cut(f.text, ":")
		switch {
		case ok && word == "tag" && !f.quoted:
			tags = append(tags, tag)
		case ok && word == "set" && !f.quoted:
			sets = append(sets, tag)
		case ok && word == "net" && !f.quoted:
			*net = append(*net, tag)
		default:
			return tags, sets, fields[i:]
		}
	}
	return tags, sets, nil
}
