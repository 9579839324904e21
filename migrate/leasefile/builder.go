package leasefile

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// builder gathers what a file says. Its methods take anything: what is too much or too many becomes an error or a note.
type builder struct {
	opts   Options
	out    File
	places map[netip.Prefix]int // of subnets
	leases map[netip.Addr]Lease
	gone   map[netip.Addr]ending
	again  map[string]*repeat
	more   int   // notes that found no place
	full   error // the first limit that was reached
	ranges int

	vendorClass string // of the class whose options are read; "": none
}

// ending is why an address has no lease any more.
type ending struct {
	line int
	why  reason
}

type reason int

const (
	free   reason = iota // released, or expired
	taken                // by something that never asked for it
	unread               // there is one, and a note why it was left out
)

// repeat is one note for all lines of a kind.
type repeat struct {
	line, count int
	text        string
}

func newBuilder(opts Options) *builder {
	if opts.Location == nil {
		opts.Location = time.UTC
	}
	return &builder{opts: opts, places: map[netip.Prefix]int{}, leases: map[netip.Addr]Lease{}, gone: map[netip.Addr]ending{}, again: map[string]*repeat{}}
}

func (b *builder) note(line int, format string, args ...any) {
	if len(b.out.Notes) >= maxNotes {
		b.more++
		return
	}
	b.out.Notes = append(b.out.Notes, Note{line, fmt.Sprintf(format, args...)})
}

// noteOnce gives one note to all lines with the same text.
func (b *builder) noteOnce(line int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if r := b.again[text]; r != nil {
		r.count++
		r.line = min(r.line, line)
	} else if len(b.again) < maxNotes {
		b.again[text] = &repeat{line, 1, text}
	} else {
		b.more++
	}
}

// room says whether one more of n things may be kept.
func (b *builder) room(line, n int, what string) bool {
	if n >= maxObjects && b.full == nil {
		b.full = &Error{Line: line, Text: fmt.Sprintf("the file has more than %d %s; divide it into several files", maxObjects, what)}
	}
	return b.full == nil
}

// subnet is the one with the prefix, which is made when there is none. The pointer is valid until the next call.
func (b *builder) subnet(line int, p netip.Prefix) *Subnet {
	i, ok := b.places[p]
	if !ok {
		if !b.room(line, len(b.out.Subnets), "subnets") {
			return &Subnet{}
		}
		i = len(b.out.Subnets)
		b.places[p] = i
		b.out.Subnets = append(b.out.Subnets, Subnet{Prefix: p, Line: line})
	}
	return &b.out.Subnets[i]
}

// addRange adds a range to a subnet. What lies outside or is upside down is noted.
func (b *builder) addRange(line int, s *Subnet, from, to netip.Addr) {
	switch {
	case !b.room(line, b.ranges, "ranges"):
	case to.Less(from):
		b.note(line, "the range from %s to %s ends before it begins, so it is left out", from, to)
	case !s.Prefix.Contains(from) || !s.Prefix.Contains(to):
		b.note(line, "the range from %s to %s is not in its subnet %s, so it is left out", from, to, s.Prefix)
	default:
		b.ranges++
		s.Ranges = append(s.Ranges, Range{from, to})
	}
}

// reserve adds a reservation, if anything is reserved.
func (b *builder) reserve(r Reservation) {
	r.Name = b.name(r.Line, r.Name)
	if !r.Address.IsValid() && r.Name == "" {
		b.noteOnce(r.Line, "there is neither an address nor a name for a machine, so there is nothing to reserve")
	} else if b.room(r.Line, len(b.out.Reservations), "reservations") {
		b.out.Reservations = append(b.out.Reservations, r)
	}
}

// hold says who holds an address; what was said of it before counts no more.
func (b *builder) hold(l Lease) {
	if b.room(l.Line, len(b.leases)+len(b.gone), "leases") {
		delete(b.gone, l.Address)
		b.leases[l.Address] = l
	}
}

// release says that an address has no lease any more; what was said of it before counts no more.
func (b *builder) release(line int, a netip.Addr, why reason) {
	if b.room(line, len(b.leases)+len(b.gone), "leases") {
		delete(b.leases, a)
		b.gone[a] = ending{line, why}
	}
}

// name is a name as the file has it, unless it could not be shown to people.
func (b *builder) name(line int, s string) string {
	if !printable(s) || len(s) > 255 {
		b.noteOnce(line, "a machine's name has characters that are no text or more than 255, so the name is left out")
		return ""
	}
	return s
}

// finish gives everything its order.
func (b *builder) finish() *File {
	f := &b.out
	for _, l := range b.leases {
		f.Leases = append(f.Leases, l)
	}
	slices.SortFunc(f.Leases, func(x, y Lease) int { return x.Address.Compare(y.Address) })
	for i := range f.Leases {
		f.Leases[i].Name = b.name(f.Leases[i].Line, f.Leases[i].Name)
	}
	f.free = map[netip.Addr]bool{}
	for _, a := range slices.SortedFunc(maps.Keys(b.gone), netip.Addr.Compare) {
		f.free[a] = true
		switch e := b.gone[a]; e.why {
		case taken:
			b.note(e.line, "%s is used by something that did not ask for it, so the old server gave it to nobody; find out what has it", a)
		case free:
			b.noteOnce(e.line, "an address is free, expired or released at the end of the file, so nobody holds it")
		}
	}
	for _, r := range b.again {
		if r.count > 1 {
			r.text += fmt.Sprintf(" (and so for %s)", counted(r.count-1, "other line", "other lines"))
		}
		b.note(r.line, "%s", r.text)
	}
	slices.SortFunc(f.Notes, func(x, y Note) int { return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Text, y.Text)) })
	if b.more > 0 {
		f.Notes = append(f.Notes, Note{Text: fmt.Sprintf("%s not shown; the file may be of another kind", counted(b.more, "more note is", "more notes are"))})
	}
	return f
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
