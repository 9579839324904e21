// Package dnstest is a DNS server for tests: zones in memory that take dynamic updates over TCP (RFC 2136), and faults on request.
// It never answers questions, and never leaves loopback.
package dnstest

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Fault is what goes wrong with a message.
type Fault int

// Faults.
const (
	None   Fault = iota
	Lost         // the message never came
	Mute         // it came and was obeyed, and the answer was lost
	Broken       // SERVFAIL
)

// Server is a primary server.
type Server struct {
	Address string

	secret string // of the key "kiln."; empty: updates are not signed
	fault  func() Fault

	mu      sync.Mutex // guards what follows
	zones   map[string]*zone
	updates int
}

// zone has records by their names in lower case.
type zone struct{ names map[string][]dns.RR }

// Key is the name of the key that a server with a secret wants.
const Key = "kiln"

// New starts a server until the test ends. Fault, unless nil, is asked about each message.
func New(t testing.TB, secret string, fault func() Fault, zones ...string) *Server {
	t.Helper()
	s := &Server{secret: secret, fault: fault, zones: map[string]*zone{}}
	for _, name := range zones {
		s.zones[dns.Fqdn(name)] = &zone{map[string][]dns.RR{}}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = listener.Addr().String()
	server := &dns.Server{Listener: listener, Handler: s, MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	if secret != "" {
		server.TsigSecret = map[string]string{dns.Fqdn(Key): secret}
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	server.NotifyStartedFunc = func() { close(ready) }
	go func() { done <- server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return s
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	fault := None
	if s.fault != nil {
		fault = s.fault()
	}
	if fault == Lost {
		_ = w.Close()
		return
	}
	answer := (&dns.Msg{}).SetReply(m)
	switch {
	case fault == Broken:
		answer.Rcode = dns.RcodeServerFailure
	case s.secret != "" && (m.IsTsig() == nil || w.TsigStatus() != nil):
		answer.Rcode = dns.RcodeRefused
	default:
		answer.Rcode = s.Update(m)
	}
	if fault == Mute {
		_ = w.Close()
		return
	}
	if t := m.IsTsig(); s.secret != "" && t != nil && w.TsigStatus() == nil {
		answer.SetTsig(t.Hdr.Name, t.Algorithm, 300, int64(t.TimeSigned))
	}
	_ = w.WriteMsg(answer) // who asked asks again
}

// Update does what a message says, or nothing when what it presupposes is not so (RFC 2136 §3).
func (s *Server) Update(m *dns.Msg) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates++
	if m.Opcode != dns.OpcodeUpdate || len(m.Question) != 1 {
		return dns.RcodeNotImplemented
	}
	z := s.zones[strings.ToLower(m.Question[0].Name)]
	if z == nil {
		return dns.RcodeNotAuth
	}
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if !dns.IsSubDomain(m.Question[0].Name, rr.Header().Name) {
			return dns.RcodeNotZone
		}
	}
	if code := z.check(m.Answer); code != dns.RcodeSuccess {
		return code
	}
	for _, rr := range m.Ns {
		z.change(rr)
	}
	return dns.RcodeSuccess
}

// check is RFC 2136 §3.2.
func (z *zone) check(all []dns.RR) int {
	for _, rr := range all {
		h := rr.Header()
		have := z.names[strings.ToLower(h.Name)]
		set := slices.ContainsFunc(have, func(r dns.RR) bool { return r.Header().Rrtype == h.Rrtype })
		switch {
		case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY && len(have) == 0:
			return dns.RcodeNameError
		case h.Class == dns.ClassANY && h.Rrtype != dns.TypeANY && !set:
			return dns.RcodeNXRrset
		case h.Class == dns.ClassNONE && h.Rrtype == dns.TypeANY && len(have) > 0:
			return dns.RcodeYXDomain
		case h.Class == dns.ClassNONE && h.Rrtype != dns.TypeANY && set:
			return dns.RcodeYXRrset
		case h.Class == dns.ClassINET && !slices.ContainsFunc(have, func(r dns.RR) bool { return same(r, rr) }):
			return dns.RcodeNXRrset // the tests' sets of this kind have one member
		}
	}
	return dns.RcodeSuccess
}

// change is RFC 2136 §3.4.
func (z *zone) change(rr dns.RR) {
	h := rr.Header()
	name := strings.ToLower(h.Name)
	have := slices.Clone(z.names[name])
	switch h.Class {
	case dns.ClassANY:
		have = slices.DeleteFunc(have, func(r dns.RR) bool { return h.Rrtype == dns.TypeANY || r.Header().Rrtype == h.Rrtype })
	case dns.ClassNONE:
		have = slices.DeleteFunc(have, func(r dns.RR) bool { return same(r, rr) })
	default:
		have = append(slices.DeleteFunc(have, func(r dns.RR) bool { return same(r, rr) }), dns.Copy(rr))
	}
	if z.names[name] = have; len(have) == 0 {
		delete(z.names, name)
	}
}

// same says whether two records have the same type and data.
func same(a, b dns.RR) bool {
	a, b = dns.Copy(a), dns.Copy(b)
	for _, rr := range []dns.RR{a, b} {
		rr.Header().Class, rr.Header().Ttl, rr.Header().Name = dns.ClassINET, 0, "."
	}
	return a.Header().Rrtype == b.Header().Rrtype && a.String() == b.String()
}

// Put adds a record, as somebody would by hand: "web.lab.example. 60 IN A 10.0.0.1".
func (s *Server) Put(text string) error {
	rr, err := dns.NewRR(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, z := range s.zones {
		if dns.IsSubDomain(name, rr.Header().Name) {
			z.change(rr)
			return nil
		}
	}
	return fmt.Errorf("no zone holds %s", rr.Header().Name)
}

// Copy is what a copy of all zones is for: restore has them as they were, once.
func (s *Server) Copy() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := map[string]*zone{}
	for name, z := range s.zones {
		was[name] = &zone{maps.Clone(z.names)} // whose values are replaced, and never changed
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.zones = was
	}
}

// Lines is all that is there, sorted: "name TYPE data", without the data of DHCID records.
func (s *Server) Lines() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, z := range s.zones {
		for name, all := range z.names {
			for _, rr := range all {
				h := rr.Header()
				line := strings.TrimSuffix(name, ".") + " " + dns.TypeToString[h.Rrtype]
				if h.Rrtype != dns.TypeDHCID {
					line += " " + strings.TrimSuffix(strings.TrimPrefix(rr.String(), h.String()), ".")
				}
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Updates is how many messages came.
func (s *Server) Updates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updates
}
