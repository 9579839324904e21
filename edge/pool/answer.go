package pool

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/pool/commit"
	"github.com/kiln-farm/kiln/edge/pool/decide"
	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/edge/pool/terms"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Answer is what a client is told of addresses.
type Answer struct {
	Mine   bool       // the client is in a subnet with pools; otherwise there is nothing else here
	Lease  dhcp.Lease // with an address to offer or to acknowledge; without one for an INFORM; none: say nothing
	Give   bool       // the Lease is to be told
	Bound  bool       // and is committed
	Refuse string     // the sentence of a NAK
	Later  bool       // it gets an address when it asks again, perhaps: nobody else has one for it
	// Options are those of the subnet, and what belongs to the lease.
	Options map[uint8][]byte
	Why     string // nothing is told
}

// question is a packet and what is known of who sent it.
type question struct {
	dhcp.Client
	decide.Ask
	who
}

// who is a client, of whichever family.
type who struct {
	at          time.Duration   // when its packet was taken up
	client, mac string          // mac may be empty with IPv6
	machine     *kilnv1.Machine // nil: nobody described it
	hostname    string
}

// Decide says what a client is told. It may wait for the farm, and no longer than ctx.
func (p *Pool) Decide(ctx context.Context, c dhcp.Client, machine *kilnv1.Machine, hostname string) Answer {
	if c.RelayBad {
		malformed.Add(ctx, 1)
	}
	where := p.book.Load().Where(c)
	if len(where) == 0 {
		return Answer{Why: "it is in no subnet with pools"}
	}
	mac := c.MAC.String()
	q := question{Client: c, Ask: decide.Read(c), who: who{at: p.now(), client: clientOf(mac), mac: mac, machine: machine, hostname: strings.ToValidUTF8(hostname, "?")}}
	if q.hostname == "" {
		q.hostname = c.Hostname
	}
	q.hostname = q.hostname[:min(len(q.hostname), 255)]
	leave, why := p.admit(mac, machine != nil || p.bound(where, q), q.at, "DHCP packets are dropped by a limit", "mac")
	if leave == nil {
		return Answer{Mine: true, Later: true, Why: why}
	}
	defer leave()
	if q.Foreign {
		p.takeBack(where, q)
	}
	a := p.answer(ctx, q, p.choose(where, q), where)
	counted(decisions, "answer", a.name(c.Message))
	return a
}

// name is for metrics.
func (a Answer) name(m dhcpv4.MessageType) string {
	switch {
	case a.Refuse != "":
		return "nak"
	case !a.Give:
		return "none"
	case m == dhcpv4.MessageTypeDiscover:
		return "offer"
	}
	return "ack"
}

// bound says whether a client has an address, or comes for the one that it was offered.
func (p *Pool) bound(where []*subnets.Subnet, q question) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range where {
		if _, r := p.replica.Own(s.Name, q.client); r.Holds(q.at) {
			return true
		}
		if n := p.pledges.of[replica.Tenant{Subnet: s.Name, Client: q.client}]; n != nil && q.Want == decide.Selecting && n.address == q.About {
			return true
		}
	}
	return false
}

// choose is the subnet of several on one segment: where the client has an address, or asks for one, or the first.
func (p *Pool) choose(where []*subnets.Subnet, q question) *subnets.Subnet {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.Want != decide.Discovering {
		for _, s := range where {
			if s.Prefix.Contains(q.About) {
				return s
			}
		}
	}
	for _, s := range where {
		if _, r := p.replica.Own(s.Name, q.client); r.Holds(q.at) {
			return s
		}
	}
	for _, s := range where {
		if q.About.IsValid() && s.Prefix.Contains(q.About) {
			return s
		}
	}
	return where[0]
}

// takeBack frees the offers to a client that has chosen another server. What it declines there it does not have any more.
func (p *Pool) takeBack(where []*subnets.Subnet, q question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range where {
		if n := p.pledges.of[replica.Tenant{Subnet: s.Name, Client: q.client}]; n != nil {
			p.pledges.back(n)
		}
		if own, r := p.replica.Own(s.Name, q.client); q.Want == decide.Declining && own == q.About {
			r.Until, r.State = max(p.now(), r.Kept), kilnv1.BindingState_BINDING_STATE_RELEASED
			p.replica.Put(s.Name, own, r)
		}
	}
}

func (p *Pool) answer(ctx context.Context, q question, s *subnets.Subnet, where []*subnets.Subnet) Answer {
	k := s.ClassOf(q.Client, q.machine.GetLabels())
	st := decide.Decide(q.Ask, s, k, p.facts(q, s))
	switch st.Do {
	case decide.Offer:
		return p.offerOwn(ctx, q, s, k, st.Address, where)
	case decide.Search:
		return p.offerNew(ctx, q, s, k, st.Address, where)
	case decide.Bind:
		return p.bindIt(ctx, q, s, k, st.Address)
	case decide.Refuse:
		return Answer{Mine: true, Refuse: st.Why}
	case decide.GiveBack, decide.Reject:
		return p.undo(ctx, q, s, st)
	case decide.Inform:
		return Answer{Mine: true, Give: true, Lease: p.lease(q, s, netip.Addr{}, 0), Options: p.options(q, s, k, 0)}
	}
	return Answer{Mine: true, Why: st.Why}
}

func (p *Pool) facts(q question, s *subnets.Subnet) decide.Facts {
	p.mu.Lock()
	defer p.mu.Unlock()
	own, r := p.replica.Own(s.Name, q.client)
	f := decide.Facts{Own: own, Held: r.Client == q.client && r.Holds(q.at), Known: q.machine != nil, Now: q.at, Heard: r.Changed, Other: r.Edge != "" && r.Edge != p.cfg.Edge}
	if own.IsValid() {
		f.Free = r.Client == q.client
		if n := p.pledges.at[replica.Place{Subnet: s.Name, Address: own}]; n != nil && n.tenant.Client != q.client {
			f.Free = false
		}
	}
	return f
}

// offerOwn offers what the client has or had.
func (p *Pool) offerOwn(ctx context.Context, q question, s *subnets.Subnet, k *subnets.Class, address netip.Addr, where []*subnets.Subnet) Answer {
	told := s.Time(q.Client, k)
	p.mu.Lock()
	now := p.now()
	r := p.replica.Get(s.Name, address)
	p.pledges.expire(now)
	n := &pledge{tenant: replica.Tenant{Subnet: s.Name, Client: q.client}, address: address, known: q.machine != nil, made: now}
	for key, st := range p.stocks {
		if key.subnet == s.Name && st.remove(address) {
			n.stock = st
		}
	}
	p.pledges.add(n)
	p.mu.Unlock()
	if p.commits.IsAway() {
		// It may have given back even what it has at another edge, of which this one has not heard.
		if told = min(told, r.Sure(q.client, false, now)); told < terms.LeastOffer {
			p.sayAway(q.who)
			return Answer{Mine: true, Later: true, Why: "the farm is away"}
		}
		return p.give(q, s, k, address, told)
	}
	if !r.Holds(now) && p.used(ctx, q, s, address) {
		p.lose(q.who, s, address)
		return p.offerNew(ctx, q, s, k, netip.Addr{}, where)
	}
	return p.give(q, s, k, address, told)
}

// left says whether an address is among the last ones of a block, which strangers do not get. It may have been offered to one
// before others asked again and again: then it is theirs who come first, but never a stranger's at the cost of a machine that is described.
func (p *Pool) left(q who, s *subnets.Subnet, address netip.Addr) bool {
	if q.machine != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.replica.Get(s.Name, address); r.Client == q.client && r.Holds(q.at) {
		return false
	}
	for key, st := range p.stocks {
		if _, free := st.place[address]; free && key.subnet == s.Name && len(st.free) <= st.keep {
			return true
		}
	}
	return false
}

// bindIt has a binding committed, and acknowledges it then.
func (p *Pool) bindIt(ctx context.Context, q question, s *subnets.Subnet, k *subnets.Class, address netip.Addr) Answer {
	// Who takes an offer of this edge only: what others have is for the farm to say, and this edge may not have heard of it.
	if q.Want == decide.Selecting && p.left(q.who, s, address) {
		return Answer{Mine: true, Refuse: address.String() + " was offered to you, and is left to others by now"}
	}
	wanted, command := s.Time(q.Client, k), &kilnv1.BindCommand{}
	command.Name, command.Nameless = q.asksFor(s)
	result, told, err := p.bindFor(ctx, q.who, q.XID(), s, address, wanted, command)
	if err != nil {
		return p.remaining(q, s, k, address, wanted, err)
	}
	switch result.GetVerdict() {
	case kilnv1.BindVerdict_BIND_VERDICT_DONE:
		if told < time.Second {
			return Answer{Mine: true, Why: "its address has run out meanwhile"}
		}
		a := p.give(q, s, k, address, told)
		a.Bound = true
		if option := s.AnswerName(q.Client, result.GetName()); option != nil {
			a.Options[optName] = option
		}
		return a
	case kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE:
		return Answer{Mine: true, Refuse: "your address is " + result.GetAddress()}
	case kilnv1.BindVerdict_BIND_VERDICT_TAKEN:
		return Answer{Mine: true, Refuse: address.String() + " is another's"}
	case kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE:
		return Answer{Mine: true, Refuse: address.String() + " is in no pool"}
	}
	return Answer{Mine: true, Why: "the farm gave an answer that this edge does not know"}
}

// remaining acknowledges what the client has, for the time that remains, when the farm cannot be asked. A client that takes an
// offer does not say that it has it.
func (p *Pool) remaining(q question, s *subnets.Subnet, k *subnets.Class, address netip.Addr, told time.Duration, err error) Answer {
	p.mu.Lock()
	now := p.now()
	r := p.replica.Get(s.Name, address)
	p.mu.Unlock()
	told = min(told, r.Sure(q.client, q.Want != decide.Selecting, now))
	if errors.Is(err, commit.ErrFaulty) || told < time.Second {
		if errors.Is(err, commit.ErrAway) {
			p.sayAway(q.who)
		}
		return Answer{Mine: true, Why: err.Error()}
	}
	a := p.give(q, s, k, address, told)
	a.Bound = true
	return a
}

// give makes the answer with an address.
func (p *Pool) give(q question, s *subnets.Subnet, k *subnets.Class, address netip.Addr, told time.Duration) Answer {
	return Answer{Mine: true, Give: true, Lease: p.lease(q, s, address, told), Options: p.options(q, s, k, told)}
}

func (p *Pool) lease(q question, s *subnets.Subnet, address netip.Addr, told time.Duration) dhcp.Lease {
	lease := s.Lease
	lease.Time = told
	lease.Address = netip.PrefixFrom(s.Prefix.Addr(), s.Prefix.Bits())
	if address.IsValid() {
		lease.Address = netip.PrefixFrom(address, s.Prefix.Bits())
	}
	if q.machine != nil {
		lease.Host = q.hostname
	}
	return lease
}

const (
	optRenew, optRebind, optSubnet = 58, 59, 118
)

func (p *Pool) options(q question, s *subnets.Subnet, k *subnets.Class, told time.Duration) map[uint8][]byte {
	out := maps.Clone(s.With(k))
	if told > 0 {
		t1, t2 := terms.Renewal(told, q.client)
		out[optRenew] = binary.BigEndian.AppendUint32(nil, uint32(t1/time.Second))
		out[optRebind] = binary.BigEndian.AppendUint32(nil, uint32(t2/time.Second))
	}
	if q.Subnet.IsValid() && !q.Relay.Link.IsValid() {
		out[optSubnet] = q.Subnet.AsSlice() // RFC 3011 §2: whoever goes by it says so
	}
	return out
}

// clientOf names a client for the farm: by its hardware address, whatever option 61 says.
func clientOf(mac string) string { return "mac " + mac }
