package pool

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/pool/commit"
	"github.com/kiln-farm/kiln/edge/pool/decide"
	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/edge/pool/terms"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Answer6 is what a client of IPv6 is told.
type Answer6 struct {
	Mine  bool       // the client is in a subnet with pools; otherwise there is nothing else here
	Plan  dhcp6.Plan // what to say, but for what to boot and when; silent: nothing
	Bound bool       // the address in it is committed
	Why   string     // nothing is told
}

// question6 is a packet and what is known of who sent it.
type question6 struct {
	dhcp6.Client
	who
	ask   decide.Ask6
	link  Link
	by    string // the association that an address goes to
	where []*subnets.Subnet
}

// Decide6 says what a client of IPv6 is told. It may wait for the farm, and no longer than ctx.
func (p *Pool) Decide6(ctx context.Context, c dhcp6.Client, machine *kilnv1.Machine, hostname string, link Link) Answer6 {
	q := question6{Client: c, ask: decide.Read6(c), link: link, by: associationOf(c), where: p.book.Load().Where6(c, link.Own, link.Networks)}
	if len(q.where) == 0 {
		return Answer6{Why: "it is in no subnet with pools"}
	}
	q.who = who{at: p.now(), client: clientOf6(c, machine), machine: machine, hostname: strings.ToValidUTF8(hostname, "?")}
	q.mac, _ = strings.CutPrefix(q.client, "mac ")
	if q.mac == q.client {
		q.mac = ""
	}
	if q.hostname == "" {
		q.hostname = c.Hostname
	}
	q.hostname = q.hostname[:min(len(q.hostname), 255)]
	leave, why := p.admit(q.client, machine != nil || p.bound6(q), q.at, "DHCPv6 packets are dropped by a limit", "client")
	if leave == nil {
		return Answer6{Mine: true, Why: why}
	}
	defer leave()
	a := p.answer6(ctx, q)
	a.Mine = true
	counted(decisions, "answer", a.name(c.Message))
	return a
}

// name is for metrics.
func (a Answer6) name(m dhcpv6.MessageType) string {
	switch {
	case a.Plan.Mode == dhcp6.Silent:
		return "none"
	case a.Bound:
		return "reply"
	case m == dhcpv6.MessageTypeSolicit && a.Plan.Lease.Address.IsValid():
		return "advertise"
	case a.Plan.Revoke:
		return "revoke"
	case m == dhcpv6.MessageTypeSolicit || m == dhcpv6.MessageTypeRequest:
		return "no address"
	}
	return "other"
}

// clientOf6 names a client for the farm: by its hardware address where there is a way to know it, so that a machine is one client
// with whatever DUIDs and over both families. A machine that is described by its UUID is its MAC, if it has one only. What else
// there is goes by its DUID, and by the association too, since a host has one DUID for all of its network cards.
func clientOf6(c dhcp6.Client, machine *kilnv1.Machine) string {
	switch macs := machine.GetMacs(); {
	case c.MAC != nil:
		return clientOf(c.MAC.String())
	case len(macs) == 1:
		return clientOf(macs[0])
	}
	duid := c.DUID.String()
	if len(duid) > 64 {
		sum := sha256.Sum256(c.DUID)
		duid = fmt.Sprintf("sha256 %x", sum[:16])
	}
	for _, ia := range c.IAs {
		if ia.Code == dhcpv6.OptionIANA {
			return fmt.Sprintf("duid %s %x", duid, ia.ID)
		}
	}
	return "duid " + duid
}

// associationOf is the association that gets the address: the first.
func associationOf(c dhcp6.Client) string {
	for _, ia := range c.IAs {
		if ia.Code == dhcpv6.OptionIANA {
			return c.DUID.String() + " " + fmt.Sprintf("%x", ia.ID)
		}
	}
	return c.DUID.String()
}

// bound6 says whether a client has an address.
func (p *Pool) bound6(q question6) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(q.where, func(s *subnets.Subnet) bool {
		_, r := p.replica.Own(s.Name, q.client)
		return r.Holds(q.at)
	})
}

func (p *Pool) answer6(ctx context.Context, q question6) Answer6 {
	where := slices.DeleteFunc(slices.Clone(q.where), func(s *subnets.Subnet) bool { return s.KnownOnly && q.machine == nil })
	if len(where) == 0 {
		return Answer6{Why: "subnet " + q.where[0].Name + " is for machines that are described"}
	}
	q.where = p.order6(q, where)
	plan := q.plan(q.where[0])
	st := decide.Decide6(q.ask, decide.Facts6{Prefix: q.where[0].Prefix, OnLink: plan.OnLink, Bound: p.bound6(q), Quick: q.link.Rapid, Away: p.commits.IsAway()})
	switch st.Do {
	case decide.Ignore:
		p.sayAway(q.who)
		return Answer6{Why: st.Why}
	case decide.Search:
		return p.offer6(q)
	case decide.Bind:
		if st.Address.IsValid() {
			return p.renew6(ctx, q, st.Address)
		}
		return p.bindNew6(ctx, q, nil)
	case decide.GiveBack, decide.Reject:
		return p.undo6(ctx, q, st.Do == decide.Reject)
	}
	return Answer6{Plan: plan}
}

// order6 puts the subnet first where the client has an address, or wishes one, or renews one.
func (p *Pool) order6(q question6, where []*subnets.Subnet) []*subnets.Subnet {
	p.mu.Lock()
	defer p.mu.Unlock()
	weight := func(s *subnets.Subnet) int {
		_, r := p.replica.Own(s.Name, q.client)
		asked := slices.ContainsFunc(q.Asked(), s.Prefix.Contains)
		switch {
		case asked && (q.ask.Want == decide.Renewing || q.ask.Want == decide.Rebinding):
			return 0
		case r.Holds(p.now()):
			return 1
		case asked:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(where, func(a, b *subnets.Subnet) int { return weight(a) - weight(b) })
	return where
}

// plan is what is told of a subnet, but for an address.
func (q question6) plan(s *subnets.Subnet) dhcp6.Plan {
	plan := dhcp6.Plan{Mode: dhcp6.Stateful, Authoritative: true}
	for _, one := range q.where {
		plan.OnLink = append(plan.OnLink, one.Prefix)
	}
	if !q.Relayed {
		plan.OnLink = append(plan.OnLink, q.link.Networks...)
	}
	s.Fill6(&plan, s.ClassOf(subnets.Like(q.Client), q.machine.GetLabels()))
	return plan
}

// give6 makes the answer with an address.
func (q question6) give6(s *subnets.Subnet, a netip.Addr, told time.Duration) Answer6 {
	answer := Answer6{Plan: q.plan(s)}
	answer.Plan.Lease = terms.Lease6(a, told, q.client)
	return answer
}

// offer6 offers an address. Nothing is remembered of it: only the farm says whose it is in the end, and the client is told another
// one then if it must be.
func (p *Pool) offer6(q question6) Answer6 {
	for _, s := range q.where {
		k := s.ClassOf(subnets.Like(q.Client), q.machine.GetLabels())
		p.mu.Lock()
		a, ok := p.candidate(q, s, k, nil)
		p.mu.Unlock()
		if ok {
			return q.give6(s, a, s.Time(subnets.Like(q.Client), k))
		}
	}
	return p.none6(q, false)
}

// none6 says that there is no address.
func (p *Pool) none6(q question6, revoke bool) Answer6 {
	s := q.where[0]
	name, room := s.RoomOf(s.ClassOf(subnets.Like(q.Client), q.machine.GetLabels()))
	a := Answer6{Plan: q.plan(s)}
	a.Plan.Revoke, a.Plan.Why = revoke, "there is no free address"
	if room.Size == nil {
		a.Plan.Why = "there are no pools for it"
		return a
	}
	p.noneOf6(q.who, s, name)
	return a
}

// renew6 prolongs what the client has. What it may not have any more it is told to leave, and gets another address for it.
func (p *Pool) renew6(ctx context.Context, q question6, asked netip.Addr) Answer6 {
	s := q.where[0]
	k := s.ClassOf(subnets.Like(q.Client), q.machine.GetLabels())
	a, end := p.bindAt6(ctx, q, s, k, asked)
	switch end {
	case bindFailed:
		return p.remaining6(q, s, k, asked, a.Why)
	case bindOther:
		return p.bindNew6(ctx, q, map[netip.Addr]bool{asked: true})
	}
	return a
}

// remaining6 prolongs nothing: it tells the client again for how long it has its address, when the farm cannot be asked.
func (p *Pool) remaining6(q question6, s *subnets.Subnet, k *subnets.Class, a netip.Addr, why string) Answer6 {
	p.mu.Lock()
	now := p.now()
	r := p.replica.Get(s.Name, a)
	p.mu.Unlock()
	told := min(s.Time(subnets.Like(q.Client), k), r.Until-now-replica.Slack)
	if why == commit.ErrFaulty.Error() || r.State != kilnv1.BindingState_BINDING_STATE_BOUND || r.Client != q.client || told < time.Second {
		p.sayFailed6(q, why)
		return Answer6{Why: why}
	}
	answer := q.give6(s, a, told)
	answer.Bound = true
	return answer
}

func (p *Pool) sayFailed6(q question6, why string) {
	if why == commit.ErrAway.Error() {
		p.sayAway(q.who)
	}
}

// How a call for a binding ends.
type bindEnd int

const (
	bindDone   bindEnd = iota
	bindOther          // another address may be had
	bindFull           // no other address of the subnet may be had
	bindFailed         // nobody knows
)

const bindTries = 4 // addresses for one packet

// bindNew6 has an address committed, and then tells it: the one that the client has or had, the one that it wishes, or any.
func (p *Pool) bindNew6(ctx context.Context, q question6, tried map[netip.Addr]bool) Answer6 {
	revoke := len(tried) > 0
	if tried == nil {
		tried = map[netip.Addr]bool{}
	}
	for _, s := range q.where {
		k := s.ClassOf(subnets.Like(q.Client), q.machine.GetLabels())
	next:
		for range bindTries {
			p.mu.Lock()
			address, ok := p.candidate(q, s, k, tried)
			if ok {
				p.binding6[replica.Place{Subnet: s.Name, Address: address}]++
			}
			p.mu.Unlock()
			if !ok {
				break
			}
			a, end := p.bindAt6(ctx, q, s, k, address)
			p.mu.Lock()
			if at := (replica.Place{Subnet: s.Name, Address: address}); p.binding6[at] > 1 {
				p.binding6[at]--
			} else {
				delete(p.binding6, at)
			}
			p.mu.Unlock()
			switch end {
			case bindDone:
				return a
			case bindFailed:
				p.sayFailed6(q, a.Why)
				return a
			case bindFull:
				break next
			}
			tried[address] = true
		}
	}
	return p.none6(q, revoke)
}

// bindAt6 has one address committed.
func (p *Pool) bindAt6(ctx context.Context, q question6, s *subnets.Subnet, k *subnets.Class, address netip.Addr) (Answer6, bindEnd) {
	p.mu.Lock()
	before := p.replica.Get(s.Name, address)
	p.mu.Unlock()
	result, told, err := p.bindFor(ctx, q.who, q.XID(), s, address, s.Time(subnets.Like(q.Client), k), &kilnv1.BindCommand{})
	if err != nil {
		return Answer6{Why: err.Error()}, bindFailed
	}
	switch result.GetVerdict() {
	case kilnv1.BindVerdict_BIND_VERDICT_DONE:
		if told < time.Second {
			return Answer6{Why: "its address has run out meanwhile"}, bindFailed
		}
		had := time.Duration(0)
		if before.Client == q.client {
			had = before.Until
		}
		p.held.hold(replica.Tenant{Subnet: s.Name, Client: q.client}, q.by, p.now()+told, had)
		if name, _ := s.RoomOf(k); !before.Holds(p.now()) {
			p.took6(stockKey{s.Name, name})
		}
		a := q.give6(s, address, told)
		a.Bound, a.Plan.Rapid = true, true
		return a, bindDone
	case kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE:
		return Answer6{}, bindOther
	case kilnv1.BindVerdict_BIND_VERDICT_TAKEN, kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE:
		return Answer6{}, bindOther
	case kilnv1.BindVerdict_BIND_VERDICT_FULL:
		return Answer6{}, bindFull
	}
	return Answer6{Why: "the farm gave an answer that this edge does not know"}, bindFailed
}

// undo6 takes an address back, or puts it aside.
func (p *Pool) undo6(ctx context.Context, q question6, inUse bool) Answer6 {
	a := Answer6{Plan: q.plan(q.where[0])}
	for _, s := range q.where {
		p.mu.Lock()
		own, r := p.replica.Own(s.Name, q.client)
		f := decide.Facts{Now: p.now(), Heard: r.Changed, Other: r.Edge != "" && r.Edge != p.cfg.Edge}
		p.mu.Unlock()
		if !r.Holds(f.Now) || !slices.Contains(q.ask.Asked, own) {
			continue
		}
		a.Plan.Lease = terms.Lease6(own, time.Minute, q.client) // it had a binding, says the answer; the time is not in it
		t := replica.Tenant{Subnet: s.Name, Client: q.client}
		switch {
		case f.Keeps(true, inUse) != "":
		case inUse:
			p.held.forget(t)
			p.undoIt(ctx, q.who, s, own, true, q.XID())
		case p.held.drop(t, q.by, f.Now):
			p.undoIt(ctx, q.who, s, own, false, q.XID())
		}
	}
	return a
}
