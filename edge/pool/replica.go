package pool

import (
	"net/netip"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxRecords = 1 << 20              // bindings that the farm has at most (coordinator/state)
	longest    = 300 * 24 * time.Hour // that the farm takes, with what is added
	slack      = 30 * time.Second     // for what messages took, where a deadline was heard of and not asked for
)

// record is a binding as this edge knows it.
type record struct {
	client  string
	state   kilnv1.BindingState
	until   time.Duration // of this edge's clock, and never before the farm's own end but for the time that the message took
	changed time.Duration // when this edge heard of it
	version int64         // until_ms of the farm, by which it knows the binding
	edge    string        // that bound it last; empty: nobody knows
	kept    time.Duration // nobody else gets the address before this time of the edge's clock, whatever the client does; 0: who knows
}

// holds says whether the binding keeps others from the address.
func (r record) holds(now time.Duration) bool {
	return r.state != kilnv1.BindingState_BINDING_STATE_UNSPECIFIED && r.until > now
}

// sure is how long a client may be told to have the address without the farm. What it asked for itself may be old: the address
// may have been given back at another edge and be somebody else's. Only one that is kept for its client is not.
func (r record) sure(client string, asserted bool, now time.Duration) time.Duration {
	switch {
	case r.client != client:
		return 0
	case r.state == kilnv1.BindingState_BINDING_STATE_BOUND && asserted:
		return r.until - now - slack
	case r.state == kilnv1.BindingState_BINDING_STATE_BOUND || r.state == kilnv1.BindingState_BINDING_STATE_RELEASED:
		return r.kept - now - slack
	}
	return 0
}

// keptTill says until when an address is kept that is bound until a time of this edge's clock, as the farm has both.
func keptTill(until time.Duration, version, kept int64) time.Duration {
	if kept == 0 {
		return 0
	}
	return until - time.Duration(max(0, version-kept))*time.Millisecond
}

type place struct {
	subnet  string
	address netip.Addr
}

type tenant struct{ subnet, client string }

// replica is what the farm has told of bindings. It may be behind.
type replica struct {
	at    map[place]record
	of    map[tenant]netip.Addr // the address that a client has or had last
	names map[string]string     // of subnets and edges, each kept once
	count map[string]int        // of at, by subnet
}

func newReplica() *replica {
	return &replica{at: map[place]record{}, of: map[tenant]netip.Addr{}, names: map[string]string{}, count: map[string]int{}}
}

// take notes what the farm told.
func (r *replica) take(b *kilnv1.BindingNow, now time.Duration) {
	address, err := netip.ParseAddr(b.GetBinding().GetAddress())
	if err != nil {
		return
	}
	if b.GetBinding().GetState() == kilnv1.BindingState_BINDING_STATE_UNSPECIFIED {
		r.forget(b.GetBinding().GetSubnet(), address)
		return
	}
	n := record{client: b.GetBinding().GetClient(), state: b.GetBinding().GetState(), changed: now, version: b.GetBinding().GetUntilMs(),
		until: now + time.Duration(min(b.GetRemainingMs(), longest.Milliseconds()*2))*time.Millisecond}
	n.edge = r.name(b.GetBinding().GetEdge())
	n.kept = keptTill(n.until, n.version, b.GetBinding().GetKeptUntilMs())
	r.put(b.GetBinding().GetSubnet(), address, n)
}

func (r *replica) put(subnet string, address netip.Addr, n record) {
	name := r.name(subnet)
	at := place{name, address}
	old, had := r.at[at]
	if !had && len(r.at) >= maxRecords {
		return
	}
	if had && old.client != n.client {
		r.leave(tenant{name, old.client}, address)
	}
	if !had {
		r.count[name]++
	}
	r.at[at] = n
	if n.client != "" {
		r.of[tenant{name, n.client}] = address
	}
}

// name is a name that stands once for all who have it.
func (r *replica) name(text string) string {
	name, ok := r.names[text]
	if !ok {
		name = text
		r.names[text] = text
	}
	return name
}

// forget drops what the farm has forgotten.
func (r *replica) forget(subnet string, address netip.Addr) {
	at := place{subnet, address}
	old, had := r.at[at]
	if !had {
		return
	}
	r.leave(tenant{subnet, old.client}, address)
	delete(r.at, at)
	r.count[subnet]--
}

func (r *replica) leave(t tenant, address netip.Addr) {
	if r.of[t] == address {
		delete(r.of, t)
	}
}

// get is what is known of an address; its state is unspecified when nothing is.
func (r *replica) get(subnet string, address netip.Addr) record { return r.at[place{subnet, address}] }

// own is what a client has or had last in a subnet.
func (r *replica) own(subnet, client string) (netip.Addr, record) {
	address, ok := r.of[tenant{subnet, client}]
	if !ok {
		return netip.Addr{}, record{}
	}
	return address, r.get(subnet, address)
}
