package replica

import (
	"net/netip"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxRecords = 1 << 20 // bindings that the farm has at most (coordinator/state)
	// Longest is the longest time that the farm takes, with what is added.
	Longest = 300 * 24 * time.Hour
	// Slack is taken from a deadline that was heard of and not asked for: so much for what messages took.
	Slack = 30 * time.Second
)

// Record is a binding as this edge knows it.
type Record struct {
	Client  string
	State   kilnv1.BindingState
	Until   time.Duration // of this edge's clock, and never before the farm's own end but for the time that the message took
	Changed time.Duration // when this edge heard of it
	Version int64         // until_ms of the farm, by which it knows the binding
	Edge    string        // that bound it last; empty: nobody knows
	Kept    time.Duration // nobody else gets the address before this time of the edge's clock, whatever the client does; 0: who knows
}

// Holds says whether the binding keeps others from the address.
func (r Record) Holds(now time.Duration) bool {
	return r.State != kilnv1.BindingState_BINDING_STATE_UNSPECIFIED && r.Until > now
}

// Sure is how long a client may be told to have the address without the farm. What it asked for itself may be old: the address
// may have been given back at another edge and be somebody else's. Only one that is kept for its client is not.
func (r Record) Sure(client string, asserted bool, now time.Duration) time.Duration {
	switch {
	case r.Client != client:
		return 0
	case r.State == kilnv1.BindingState_BINDING_STATE_BOUND && asserted:
		return r.Until - now - Slack
	case r.State == kilnv1.BindingState_BINDING_STATE_BOUND || r.State == kilnv1.BindingState_BINDING_STATE_RELEASED:
		return r.Kept - now - Slack
	}
	return 0
}

// KeptTill says until when an address is kept that is bound until a time of this edge's clock, as the farm has both.
func KeptTill(until time.Duration, version, kept int64) time.Duration {
	if kept == 0 {
		return 0
	}
	return until - time.Duration(max(0, version-kept))*time.Millisecond
}

// Place is an address of a subnet.
type Place struct {
	Subnet  string
	Address netip.Addr
}

// Tenant is a client of a subnet.
type Tenant struct{ Subnet, Client string }

// Replica is what the farm has told of bindings. It may be behind.
type Replica struct {
	At    map[Place]Record
	Of    map[Tenant]netip.Addr // the address that a client has or had last
	names map[string]string     // of subnets and edges, each kept once
	Count map[string]int        // of at, by subnet
}

// New makes one that knows nothing.
func New() *Replica {
	return &Replica{At: map[Place]Record{}, Of: map[Tenant]netip.Addr{}, names: map[string]string{}, Count: map[string]int{}}
}

// Take notes what the farm told.
func (r *Replica) Take(b *kilnv1.BindingNow, now time.Duration) {
	address, err := netip.ParseAddr(b.GetBinding().GetAddress())
	if err != nil {
		return
	}
	if b.GetBinding().GetState() == kilnv1.BindingState_BINDING_STATE_UNSPECIFIED {
		r.forget(b.GetBinding().GetSubnet(), address)
		return
	}
	n := Record{Client: b.GetBinding().GetClient(), State: b.GetBinding().GetState(), Changed: now, Version: b.GetBinding().GetUntilMs(),
		Until: now + time.Duration(min(b.GetRemainingMs(), Longest.Milliseconds()*2))*time.Millisecond}
	n.Edge = r.name(b.GetBinding().GetEdge())
	n.Kept = KeptTill(n.Until, n.Version, b.GetBinding().GetKeptUntilMs())
	r.Put(b.GetBinding().GetSubnet(), address, n)
}

// Put notes what is known of an address.
func (r *Replica) Put(subnet string, address netip.Addr, n Record) {
	name := r.name(subnet)
	at := Place{name, address}
	old, had := r.At[at]
	if !had && len(r.At) >= maxRecords {
		return
	}
	if had && old.Client != n.Client {
		r.Leave(Tenant{name, old.Client}, address)
	}
	if !had {
		r.Count[name]++
	}
	r.At[at] = n
	if n.Client != "" {
		r.Of[Tenant{name, n.Client}] = address
	}
}

// name is a name that stands once for all who have it.
func (r *Replica) name(text string) string {
	name, ok := r.names[text]
	if !ok {
		name = text
		r.names[text] = text
	}
	return name
}

// forget drops what the farm has forgotten.
func (r *Replica) forget(subnet string, address netip.Addr) {
	at := Place{subnet, address}
	old, had := r.At[at]
	if !had {
		return
	}
	r.Leave(Tenant{subnet, old.Client}, address)
	delete(r.At, at)
	r.Count[subnet]--
}

// Leave forgets that an address was the last one of a client.
func (r *Replica) Leave(t Tenant, address netip.Addr) {
	if r.Of[t] == address {
		delete(r.Of, t)
	}
}

// Get is what is known of an address; its state is unspecified when nothing is.
func (r *Replica) Get(subnet string, address netip.Addr) Record { return r.At[Place{subnet, address}] }

// Own is what a client has or had last in a subnet.
func (r *Replica) Own(subnet, client string) (netip.Addr, Record) {
	address, ok := r.Of[Tenant{subnet, client}]
	if !ok {
		return netip.Addr{}, Record{}
	}
	return address, r.Get(subnet, address)
}
