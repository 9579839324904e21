package ddns

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/kiln-farm/kiln/internal/dnsname"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Verdict is what came of an Exchange.
type Verdict int

// Verdicts.
const (
	Done    Verdict = iota // it is as it should be
	Taken                  // the name is somebody else's, and is left alone
	Refused                // by the server, for all of the zone
	Away                   // the server does not work, or does not answer
)

// String is for metrics.
func (v Verdict) String() string { return [...]string{"done", "taken", "refused", "away"}[v] }

// Exchange is the talk with a server about one record. Every step may be sent twice: a server that has done it already answers
// so that the next one finds that out.
type Exchange struct {
	record       *kilnv1.DNSRecord
	remove       bool
	zone, owner  string
	answer, mark dns.RR
	step, tries  int
}

// Adding is the talk that brings a record into DNS (RFC 4703 §5.3, §5.4).
func Adding(r *kilnv1.DNSRecord) (*Exchange, error) { return newExchange(r, false) }

// Removing is the talk that takes a record out of DNS, when it is there and is the client's (RFC 4703 §5.5).
func Removing(r *kilnv1.DNSRecord) (*Exchange, error) { return newExchange(r, true) }

func newExchange(r *kilnv1.DNSRecord, remove bool) (*Exchange, error) {
	address, err := netip.ParseAddr(r.GetAddress())
	if err != nil {
		return nil, fmt.Errorf("the record of %s has no address: %w", r.GetName(), err)
	}
	if !dnsname.IsName(r.GetName()) || !dnsname.IsName(r.GetZone()) {
		return nil, fmt.Errorf("%q in %q is no name of DNS", r.GetName(), r.GetZone())
	}
	id, err := DHCID(r.GetClient(), r.GetName())
	if err != nil {
		return nil, err
	}
	e := &Exchange{record: r, remove: remove, zone: dns.Fqdn(r.GetZone()), owner: dns.Fqdn(r.GetName())}
	header := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: e.owner, Rrtype: kind, Class: dns.ClassINET, Ttl: r.GetTtlSeconds()}
	}
	switch {
	case r.GetReverse():
		e.owner = dns.Fqdn(dnsname.Reverse(address))
		e.answer = &dns.PTR{Hdr: header(dns.TypePTR), Ptr: dns.Fqdn(r.GetName())}
	case address.Is4():
		e.answer = &dns.A{Hdr: header(dns.TypeA), A: address.AsSlice()}
	default:
		e.answer = &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: address.AsSlice()}
	}
	e.mark = &dns.DHCID{Hdr: header(dns.TypeDHCID), Digest: id}
	return e, nil
}

// Steps of an Exchange that adds: the name may be free, or marked as the client's. Of one that removes: the record, and then the
// mark when nothing else has it.
const (
	stepFree = iota
	stepMarked
	stepRecord
	stepMark
)

// Begin is the first message, without an id.
func (e *Exchange) Begin() *dns.Msg {
	if e.remove {
		return e.message(stepRecord)
	}
	return e.message(stepFree)
}

const maxTries = 4 // steps, when somebody else changes the name meanwhile

func (e *Exchange) message(step int) *dns.Msg {
	e.step = step
	e.tries++
	m := &dns.Msg{}
	m.SetUpdate(e.zone)
	name, of := any1(e.owner, dns.TypeANY), func(kind uint16) dns.RR { return any1(e.owner, kind) }
	switch step {
	case stepFree:
		m.NameNotUsed([]dns.RR{name})
		m.Insert([]dns.RR{e.answer, e.mark})
	case stepMarked:
		if e.record.GetReverse() { // the address is ours to give, so any client's mark is an older one of ours
			m.RRsetUsed([]dns.RR{of(dns.TypeDHCID)})
			m.RemoveRRset([]dns.RR{of(dns.TypePTR), of(dns.TypeDHCID)})
			m.Insert([]dns.RR{e.answer, e.mark})
		} else {
			m.Used([]dns.RR{dns.Copy(e.mark)})
			m.Insert([]dns.RR{e.answer})
		}
	case stepRecord:
		m.Used([]dns.RR{dns.Copy(e.mark)})
		if e.record.GetReverse() {
			m.RemoveRRset([]dns.RR{of(dns.TypePTR), of(dns.TypeDHCID)})
		} else {
			m.Remove([]dns.RR{dns.Copy(e.answer)})
		}
	case stepMark:
		m.Used([]dns.RR{dns.Copy(e.mark)})
		m.RRsetNotUsed([]dns.RR{of(dns.TypeA), of(dns.TypeAAAA)})
		m.RemoveRRset([]dns.RR{of(dns.TypeDHCID)})
	}
	return m
}

func any1(owner string, kind uint16) dns.RR {
	return &dns.ANY{Hdr: dns.RR_Header{Name: owner, Rrtype: kind, Class: dns.ClassANY}}
}

// Next reads the answer to the last message: the next message, or nil and what came of it.
func (e *Exchange) Next(answer *dns.Msg) (*dns.Msg, Verdict) {
	code := answer.Rcode
	switch code {
	case dns.RcodeServerFailure:
		return nil, Away
	case dns.RcodeSuccess:
		if e.step == stepRecord && !e.record.GetReverse() {
			return e.message(stepMark), Done
		}
		return nil, Done
	}
	switch e.step {
	case stepFree:
		if code == dns.RcodeYXDomain {
			return e.again(stepMarked)
		}
	case stepMarked:
		switch code {
		case dns.RcodeNXRrset:
			return nil, Taken
		case dns.RcodeNameError: // it has gone meanwhile
			return e.again(stepFree)
		}
	case stepRecord, stepMark:
		switch code {
		case dns.RcodeNXRrset, dns.RcodeNameError, dns.RcodeYXRrset: // it is not there, or not ours; or something else has the mark
			return nil, Done
		}
	}
	return nil, Refused
}

func (e *Exchange) again(step int) (*dns.Msg, Verdict) {
	if e.tries >= maxTries {
		return nil, Away
	}
	return e.message(step), Done
}
