package names

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiln-farm/kiln/coordinator/ddns"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	publishGap   = 100 * time.Millisecond // between two comparisons of DNS with what it should hold
	publishShare = 10                     // comparing takes at most one part in so many of the time,
	publishMost  = 10 * time.Second       // but names do not wait longer for that
	publishIdle  = time.Minute            // until it is compared anyway
)

// Kind is the duty. Keys sign what subnets have published, nil: there are none; times are Usual where they are not set.
func Kind(keys *nsupdate.Keys, times Times) duty.Kind {
	if times == (Times{}) {
		times = usualDNS()
	}
	return duty.Kind{
		Name: "names", Does: "keeps DNS in step with what is described and bound",
		Hears:    []state.ChangeKind{state.RoomChanged, state.BindingChanged, state.PublishedChanged},
		Reads:    []state.Part{state.Machines, state.Addresses, state.Names},
		Proposes: []state.CommandKind{"publish"},
		New:      func(t duty.Tools) duty.Duty { return newPublisher(t, keys, times) },
	}
}

// Duty keeps DNS in step with what is described and bound, while this coordinator leads. What it knows beyond the state can
// be lost: a record is in the state before anything is sent about it, and leaves it when it is sure to be gone.
type Duty struct {
	duty.Tools
	duty.Passive
	keys  *nsupdate.Keys
	times Times
	begun time.Time
	wake  chan struct{} // holds a token when something may have changed
	// mended: operators have said something since what was refused was tried last.
	mended atomic.Bool
	// names are those of wants, for those who cannot wait; never changed, only replaced.
	names atomic.Pointer[map[ddns.Place]ddns.Name]
	// intent is what was looked at last, by the goroutine that compares.
	intent *kilnv1.Intent

	sweep sweep

	mu       sync.Mutex // guards what follows
	doubtful map[ddns.Key]bool
	lanes    map[string]*lane // by server
	wants    ddns.Wants
	sure     map[ddns.Key]bool // of wants
	since    map[ddns.Key]time.Time
}

func newPublisher(t duty.Tools, keys *nsupdate.Keys, times Times) *Duty {
	return &Duty{
		Tools: t, keys: keys, times: times, sweep: sweep{period: times.Sweep}, begun: time.Now(), wake: make(chan struct{}, 1),
		doubtful: map[ddns.Key]bool{}, lanes: map[string]*lane{}, since: map[ddns.Key]time.Time{},
	}
}

// Begin implements duty.Duty: what the last leader was not sure of may still arrive.
func (p *Duty) Begin(m *state.Machine) {
	for _, r := range m.Published() {
		if !r.GetSure() {
			p.doubtful[ddns.KeyOf(r)] = true
		}
	}
}

// Changed implements duty.Duty.
func (p *Duty) Changed(m *state.Machine, changes []state.Change) {
	for _, c := range changes {
		switch c.Kind {
		case state.RoomChanged:
			p.changed()
		case state.BindingChanged:
			p.bound(m, c.Binding)
		case state.PublishedChanged:
			p.look()
		}
	}
}

// look has DNS compared soon. It never waits.
func (p *Duty) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// changed is look after operators have said something else: what was refused is tried again. It never waits.
func (p *Duty) changed() {
	p.mended.Store(true)
	p.look()
}

// bound is look after a binding has changed, unless it was a renewal. It never waits: a client of DHCP does.
func (p *Duty) bound(m *state.Machine, b *kilnv1.Binding) {
	if m.Subnet(b.GetSubnet()).GetDnsUpdate() == nil {
		return
	}
	var name ddns.Name
	have := false
	if names := p.names.Load(); names != nil {
		name, have = (*names)[ddns.Place{Subnet: b.GetSubnet(), Address: b.GetAddress()}]
	}
	if want := m.Named(b); want != have || want && (name.Holder != b.GetClient() || name.Label != b.GetName()) {
		p.look()
	}
}

// Run implements duty.Duty: it compares until leadership ends.
func (p *Duty) Run(ctx context.Context) {
	defer p.measure()()
	for {
		begun := time.Now()
		next := p.compare(ctx)
		gap := min(max(publishGap, publishShare*time.Since(begun)), publishMost)
		if !sleep(ctx, gap, nil) || !sleep(ctx, max(next-gap, time.Millisecond), p.wake) {
			return
		}
	}
}

// compare gives every server's lane what is to be done there, and says when a binding with a name runs out.
func (p *Duty) compare(ctx context.Context) (next time.Duration) {
	var in *kilnv1.Intent
	var bindings []*kilnv1.Binding
	var published []*kilnv1.DNSRecord
	mended := p.mended.Swap(false)
	p.mu.Lock()
	for _, l := range p.lanes {
		if l.mark(); mended {
			l.hope()
		}
	}
	idle := len(p.lanes) == 0
	p.mu.Unlock()
	some := false
	p.View(func(m *state.Machine) {
		if some = m.Publishes() || !idle; some {
			if in = p.intent; in == nil || in.GetRevision() != m.RoomRevision() {
				in = m.Intent()
			}
			bindings, published = m.AllBindings(), m.Published()
		}
	})
	if !some {
		return publishIdle
	}
	p.intent = in
	steady := p.Steady()
	wants := ddns.Wanted(in, bindings, steady)
	tasks, blocked := ddns.Plan(wants, published)
	now := time.Now()
	tasks = append(tasks, ddns.Sweep(wants, published, func(key ddns.Key) bool { return p.sweep.due(key, now) })...)
	p.names.Store(&wants.Names)
	p.offer(ctx, wants, published, tasks, blocked)
	next = publishIdle
	if p.sweep.period > 0 {
		next = min(next, p.sweep.period/sweepParts/2)
	}
	if wants.Until > 0 {
		next = min(next, time.Duration(wants.Until-steady)*time.Millisecond)
	}
	return next
}

func (p *Duty) offer(ctx context.Context, wants ddns.Wants, published []*kilnv1.DNSRecord, tasks []ddns.Task, blocked []*kilnv1.DNSRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wants, p.sure = wants, map[ddns.Key]bool{}
	for _, r := range published {
		if key := ddns.KeyOf(r); r.GetSure() && wants.Records[key] != nil {
			p.sure[key] = true
		}
	}
	of := map[string][]ddns.Task{}
	now, since := time.Now(), map[ddns.Key]time.Time{}
	waits := func(r *kilnv1.DNSRecord) {
		key := ddns.KeyOf(r)
		if since[key] = now; !p.since[key].IsZero() {
			since[key] = p.since[key]
		}
	}
	for _, t := range tasks {
		of[t.Record.GetServer()] = append(of[t.Record.GetServer()], t)
		if !t.Again {
			waits(t.Record)
		}
	}
	for _, r := range blocked {
		waits(r)
	}
	p.since = since
	named := map[string]bool{}
	for zone := range wants.Keys {
		named[zone.Server] = true
	}
	for server := range of {
		if p.lanes[server] == nil {
			l := newLane(p, server)
			p.lanes[server] = l
			p.Spawn(func() { l.run(ctx) })
		}
	}
	for server, l := range p.lanes {
		l.offer(of[server], named[server])
	}
}

// settling says for how long yet something that the last leader sent about a record may arrive.
func (p *Duty) settling(key ddns.Key) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.doubtful[key] {
		return 0
	}
	left := p.times.Settle - time.Since(p.begun)
	if left <= 0 {
		delete(p.doubtful, key)
	}
	return left
}

// Name is what an address is called in DNS, and what became of that.
func (p *Duty) Name(subnet, address string) (fqdn string, now kilnv1.NameState, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, ok := p.wants.Names[ddns.Place{Subnet: subnet, Address: address}]
	switch {
	case !ok:
		return "", kilnv1.NameState_NAME_STATE_UNSPECIFIED, ""
	case name.Why != "":
		return name.FQDN, kilnv1.NameState_NAME_STATE_TAKEN, name.Why
	}
	now = kilnv1.NameState_NAME_STATE_PUBLISHED
	for _, key := range name.Records {
		if one, text := p.become(key); one > now {
			now, why = one, text
		}
	}
	return name.FQDN, now, why
}

// become is what became of a record that is wanted. It is called with mu held.
func (p *Duty) become(key ddns.Key) (kilnv1.NameState, string) {
	if l := p.lanes[key.Server]; l != nil {
		if now, why, ok := l.said(key); ok {
			return now, why
		}
	}
	if p.sure[key] {
		return kilnv1.NameState_NAME_STATE_PUBLISHED, ""
	}
	return kilnv1.NameState_NAME_STATE_WAITING, ""
}

// sleep waits for a time, or until it is woken; false when the context ends.
func sleep(ctx context.Context, during time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(during)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-ctx.Done():
		return false
	}
	return true
}

// counts are how many records there are in each state, and how long the one waits that waits longest, by server.
func (p *Duty) counts() (states map[kilnv1.NameState]int64, longest map[string]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	states, longest = map[kilnv1.NameState]int64{}, map[string]time.Duration{}
	for key := range p.wants.Records {
		now, _ := p.become(key)
		states[now]++
	}
	for server := range p.lanes {
		longest[server] = 0
	}
	now := time.Now()
	for key, since := range p.since {
		if state, _ := p.become(key); state == kilnv1.NameState_NAME_STATE_WAITING || state == kilnv1.NameState_NAME_STATE_REFUSED {
			longest[key.Server] = max(longest[key.Server], now.Sub(since))
		}
	}
	return states, longest
}

// Looked says whether DNS has been compared with what it should hold.
func (p *Duty) Looked() bool { return p.names.Load() != nil }
