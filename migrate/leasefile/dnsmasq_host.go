package leasefile

import (
	"net/netip"
	"strings"
)

// host reads a value of dhcp-host, whose parts come in almost any order (dnsmasq(8), --dhcp-host; option.c, case 'G').
func (r *dnsmasqReader) host(line int, fields []dnsmasqField) {
	h := Reservation{Line: line}
	var v4, v6 []netip.Addr
	given := false // a MAC or id that cannot be taken over
	for _, f := range fields {
		text := f.text
		switch word, value, ok := strings.Cut(text, ":"); {
		case text == "":
		case text == "ignore":
			r.note(line, "dnsmasq ignores this machine, which Kiln cannot; take its MAC out of Kiln's networks another way")
			return
		case ok && word == "id" && value == "*":
			r.noteOnce(line, "\"id:*\" is not taken over, because Kiln knows a machine by its MAC anyway")
		case ok && word == "id":
			// Bytes when it looks like them, and a text otherwise, like "badge-7" or "abc".
			if id, hex := octets(value); hex && strings.Contains(value, ":") {
				h.ClientID = id
			} else {
				h.ClientID = []byte(value)
			}
		case ok && (word == "set" || word == "net"):
			r.noteOnce(line, "the tags of a dhcp-host are not taken over, because they select options that are not, either")
		case ok && word == "tag":
			r.note(line, "the dhcp-host is for requests with the tag %s only; Kiln takes it for all", quote(value))
		case strings.HasPrefix(text, "["):
			a, good := address(strings.TrimSuffix(text[1:], "]"))
			if !good || !a.Is6() || a.As16()[0] == 0 {
				r.note(line, "the address %s is part of one or a range, so it is left out; write the whole address", quote(text))
				continue
			}
			v6 = append(v6, a)
		case ok: // without a colon it is a name for dnsmasq, like 52-54-00-12-34-56
			hardware, mac, typed := strings.Cut(text, "-")
			if !typed {
				hardware, mac = "01", text
			}
			if m, good := macOf(mac); good && strings.TrimLeft(hardware, "0") == "1" {
				h.MACs = append(h.MACs, m)
				continue
			}
			given = true
			r.note(line, "%s is not the MAC of one Ethernet card, so it is left out; name the machines one by one", quote(text))
		default:
			if a, good := address(text); good {
				v4 = append(v4, a)
			} else if _, good := dnsmasqTime(text); good && !f.quoted {
				r.noteOnce(line, "the lease time of one machine is not taken over, because that of its subnet counts; its address stays reserved for it")
			} else {
				h.Name = text
			}
		}
	}
	addresses := append(v4, v6...)
	switch {
	case len(h.MACs) == 0 && len(h.ClientID) == 0:
		if !given && h.Name == "" {
			r.note(line, "the dhcp-host has no MAC of a machine, so it is left out; write the machine's MAC into it")
		} else if !given {
			r.note(line, "the dhcp-host goes by the name %s, which any machine can claim, so it is left out; write the machine's MAC into it", quote(h.Name))
		}
	case len(addresses) == 0:
		r.reserve(h)
	default:
		for _, a := range addresses {
			one := h
			one.Address = a
			r.reserve(one)
		}
	}
}
