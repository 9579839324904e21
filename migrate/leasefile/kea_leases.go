package leasefile

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// keaLeases reads what Kea's memfile backend writes (Kea ARM, "Memfile - Basic Storage for Leases"): comma-separated values
// whose first line names the columns, which differ with Kea's versions. Each change of a lease is a line, and of an address
// the last one counts.
func keaLeases(b *builder, data string) error {
	var t *keaTable
	line := 0
	for text := range strings.Lines(data) {
		line++
		text = strings.TrimRight(text, "\r\n")
		if text == "" {
			continue
		}
		fields := strings.SplitN(text, ",", maxDepth)
		if t != nil {
			t.row(line, fields)
			continue
		}
		t = &keaTable{builder: b, columns: map[string]int{}}
		for i, name := range fields {
			t.columns[name] = i
		}
		t.v6 = t.has("duid")
		required := []string{"address", "hwaddr", "client_id", "valid_lifetime", "expire"}
		if t.v6 {
			required = []string{"address", "duid", "valid_lifetime", "expire", "lease_type", "iaid"}
		}
		for _, name := range required {
			if !t.has(name) {
				return &Error{Line: line, Text: fmt.Sprintf("the first line names no column %s; give kea-leases4.csv or one of its companions as Kea wrote it", quote(name))}
			}
		}
	}
	if t == nil && len(data) > 0 {
		return &Error{Line: 1, Text: "there is no line that names the columns; give kea-leases4.csv as Kea wrote it"}
	}
	return nil
}

type keaTable struct {
	*builder
	columns map[string]int
	v6      bool
	fields  []string
}

func (t *keaTable) has(column string) bool {
	_, ok := t.columns[column]
	return ok
}

// field is what the row has in a column, or nothing.
func (t *keaTable) field(column string) string {
	if i, ok := t.columns[column]; ok && i < len(t.fields) {
		return t.fields[i]
	}
	return ""
}

// States of leases (Kea ARM, "Lease States"); older versions have no such column.
const (
	keaAssigned  = ""
	keaDefault   = "0"
	keaDeclined  = "1"
	keaReclaimed = "2"
	keaReleased  = "3" // since 2.7
)

func (t *keaTable) row(line int, fields []string) {
	t.fields = fields
	a, ok := address(t.field("address"))
	if !ok || a.Is6() != t.v6 {
		t.note(line, "the line has no address, so it is left out, as Kea does; its last write was cut short, perhaps")
		return
	}
	if t.v6 && t.field("lease_type") != "0" { // 1: temporary, 2: a prefix
		t.noteOnce(line, "a prefix or a temporary address is not taken over, because Kiln gives addresses that stay")
		return
	}
	life, okLife := seconds(t.field("valid_lifetime"))
	ends, okEnds := instant(t.field("expire"))
	if !okLife || !okEnds {
		t.note(line, "the line of %s has no lifetime and no end, so it is left out, as Kea does", a)
		return
	}
	if life == Forever {
		ends = time.Time{}
	}
	l := Lease{Address: a, Ends: ends, Line: line, Name: strings.TrimSuffix(keaText(t.field("hostname")), ".")}
	state := t.field("state")
	switch {
	case state == keaDeclined:
		t.release(line, a, taken)
	case life == 0 || state == keaReclaimed || state == keaReleased: // a lifetime of 0 takes the lease away
		t.release(line, a, free)
	case state != keaAssigned && state != keaDefault:
		t.release(line, a, unread)
		t.note(line, "%s has the state %s, which is not known here, so it is left out", a, quote(state))
	case t.holder(&l):
		t.hold(l)
	default:
		t.release(line, a, unread)
	}
}

// holder fills in who holds the address, and says whether that is known.
func (t *keaTable) holder(l *Lease) bool {
	column := "client_id"
	if t.v6 {
		column = "duid"
	}
	if s := t.field(column); s != "" {
		l.ClientID, _ = octets(s)
	}
	mac := t.field("hwaddr")
	l.MAC, _ = macOf(mac)
	if t.v6 {
		iaid, err := strconv.ParseUint(t.field("iaid"), 10, 32)
		if l.IAID = uint32(iaid); err != nil || l.ClientID == nil {
			t.note(l.Line, "%s has no IAID and DUID, so nobody can be told who holds it, and it is left out", l.Address)
			return false
		}
		return true
	}
	if l.MAC == "" && mac != "" {
		t.note(l.Line, "%s is held by %s, which is no machine on Ethernet, so it is left out", l.Address, quote(mac))
		return false
	}
	if l.MAC == "" && l.ClientID == nil {
		t.note(l.Line, "%s has neither a MAC nor a client id, so nobody can be told who holds it, and it is left out", l.Address)
		return false
	}
	return true
}

// keaText resolves what stands for a character that a field cannot have: "&#x2c" is a comma (Kea ARM, the same chapter).
func keaText(s string) string {
	const mark = "&#x"
	if !strings.Contains(s, mark) {
		return s
	}
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(s, mark)
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		s = after
		if len(s) < 2 {
			out.WriteString(mark)
			continue
		}
		if c, err := hex.DecodeString(s[:2]); err == nil {
			out.WriteByte(c[0])
			s = s[2:]
		} else {
			out.WriteString(mark)
		}
	}
}
