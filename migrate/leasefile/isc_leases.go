package leasefile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// iscLeases reads dhcpd.leases (dhcpd.leases(5)): a journal, in which the last entry of an address counts. Entries of hosts are
// those that were made while dhcpd ran (OMAPI), and are reservations.
func iscLeases(b *builder, data string) error {
	r := &iscJournal{builder: b, iscScanner: iscScanner{s: data, line: 1}, hosts: map[string]*iscHost{}}
	for known := false; ; known = true {
		st, err := r.next()
		if err == nil && st.end == 0 {
			break
		}
		if !known && !iscJournalWord(st) && !st.is("host") { // one of OMAPI may be the first
			return &Error{Line: st.line, Text: fmt.Sprintf("%s is nothing that dhcpd begins a journal with; give /var/lib/dhcp/dhcpd.leases, or name the right kind of file", st.head())}
		}
		if err == nil {
			err = r.entry(st)
		}
		if e := (*Error)(nil); errors.As(err, &e) && e.cut { // the last write was: dhcpd goes on without it, too
			b.note(st.line, "the last entry is cut short, so it is left out, as dhcpd does")
			break
		}
		if err != nil {
			return err
		}
	}
	for _, h := range slices.SortedFunc(maps.Values(r.hosts), func(x, y *iscHost) int { return cmp.Compare(x.line, y.line) }) {
		h.reserve(b)
	}
	return nil
}

// iscJournalWord says whether a statement is one of a journal.
func iscJournalWord(st iscStatement) bool {
	switch strings.ToLower(st.word(0)) {
	case "lease", "authoring-byte-order", "server-duid", "ia-na", "ia-ta", "ia-pd":
		return true
	case "failover":
		return st.is("failover", "peer") && len(st.words) == 4 && st.words[3].text == "state"
	}
	return false
}

type iscJournal struct {
	*builder
	iscScanner
	hosts map[string]*iscHost // by name: the last counts
}

// entry reads one.
func (r *iscJournal) entry(st iscStatement) error {
	switch {
	case st.is("lease") && st.end == '{':
		return r.lease(st)
	case st.is("host") && st.end == '{':
		return r.host(st)
	case (st.is("group") || st.is("subgroup")) && st.end == '{':
		r.note(st.line, "a group in a journal is not taken over; the hosts in it belong into dhcpd.conf")
		return r.skip()
	case st.is("ia-na") || st.is("ia-ta") || st.is("ia-pd"):
		r.noteOnce(st.line, "IPv6 leases of ISC dhcpd are not taken over; their machines ask for other addresses")
	case st.is("failover"):
		r.noteOnce(st.line, "the state of a failover peer is not taken over; give the journal of one peer only, while both agree")
	}
	if st.end == '{' {
		return r.skip()
	}
	return nil
}

// lease reads the block of a lease.
func (r *iscJournal) lease(head iscStatement) error {
	a, ok := address(head.word(1))
	if !ok || !a.Is4() {
		r.note(head.line, "the lease of %s has no IPv4 address, so it is left out", quote(head.word(1)))
		return r.skip()
	}
	l := Lease{Address: a, Line: head.line}
	state, other, badEnd, reserved := "active", "", "", false
	for {
		st, err := r.next()
		if err != nil {
			return err
		}
		if st.end == '}' {
			break
		}
		switch {
		case st.end == '{':
			if err := r.skip(); err != nil {
				return err
			}
		case st.is("ends"):
			if l.Ends, ok = r.date(st); !ok {
				badEnd = strings.Join(st.texts(1), " ")
			}
		case st.is("binding", "state"):
			state = strings.ToLower(st.word(2))
		case st.is("abandoned"): // dhcpd 2 had no states
			state = "abandoned"
		case st.is("hardware"):
			if l.MAC, ok = macOf(st.word(2)); !ok || !st.is("hardware", "ethernet") {
				l.MAC, other = "", st.word(1)+" "+st.word(2)
			}
		case st.is("uid") && len(st.words) > 1:
			if l.ClientID, ok = iscID(st.words[1]); !ok {
				l.ClientID = nil
			}
		case st.is("client-hostname"):
			l.Name = st.word(1)
		case st.is("reserved") || st.is("bootp"):
			reserved = true
		}
	}
	r.state(l, state, other, badEnd, reserved)
	return nil
}

// state takes a lease over as its state says.
func (r *iscJournal) state(l Lease, state, other, badEnd string, reserved bool) {
	switch {
	case state == "abandoned":
		r.release(l.Line, l.Address, taken)
	case state != "active":
		r.release(l.Line, l.Address, free)
	case badEnd != "":
		r.release(l.Line, l.Address, unread)
		r.note(l.Line, "the lease of %s ends at %s, which is no time, so it is left out", l.Address, quote(badEnd))
	case other != "":
		r.release(l.Line, l.Address, unread)
		r.note(l.Line, "%s is held by %s, which is no machine on Ethernet, so it is left out", l.Address, quote(other))
	case l.MAC == "" && l.ClientID == nil:
		r.release(l.Line, l.Address, unread)
		r.note(l.Line, "the lease of %s says neither MAC nor client id of who holds it, so it is left out", l.Address)
	default:
		if reserved {
			l.Ends = time.Time{}
		}
		r.hold(l)
	}
}

// date reads "ends never;", "ends epoch 1732358024;" and "ends 6 2024/11/23 10:33:44;", whose first number is the weekday,
// and which may have the seconds from UTC at its end (common/parse.c, parse_date_core).
func (r *iscJournal) date(st iscStatement) (time.Time, bool) {
	switch words := st.texts(1); {
	case len(words) == 1 && strings.EqualFold(words[0], "never"):
		return time.Time{}, true
	case len(words) == 2 && strings.EqualFold(words[0], "epoch"):
		return instant(words[1])
	case len(words) == 3:
		t, err := time.ParseInLocation("2006/1/2 15:4:5", words[1]+" "+words[2], r.opts.Location)
		return t.UTC(), err == nil
	}
	return time.Time{}, false
}

// host reads a host of OMAPI. The last of a name counts, and "deleted" takes it away.
func (r *iscJournal) host(head iscStatement) error {
	h := &iscHost{line: head.line, name: head.word(1)}
	deleted := false
	for {
		st, err := r.next()
		if err != nil {
			return err
		}
		if st.end == '}' {
			break
		}
		if st.end == '{' {
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		deleted = deleted || st.is("deleted")
		h.statement(st)
	}
	delete(r.hosts, h.name)
	if !deleted && r.room(h.line, len(r.hosts), "hosts") {
		r.hosts[h.name] = h
	}
	return nil
}
