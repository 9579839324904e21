package pool

import (
	"net/netip"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// maxRecords is how many bindings the farm has at most (coordinator/state).
const maxRecords = 1 << 20

// record is a binding as this edge knows it.
type record struct {
	client  string
	state   kilnv1.BindingState
	until   time.Duration // of this edge's clock, and never before the farm's own end but for the time that the message took
	changed time.Duration // when this edge heard of it
	version int64         // until_ms of the farm, by which it knows the binding
}

// holds says whether the binding keeps others from the address.
func (r record) holds(now time.Duration) bool {
	return r.state != kilnv1.BindingState_BINDING_STATE_UNSPECIFIED && r.state != kilnv1.BindingState_BINDING_STATE_RELEASED && r.until > now
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
	names map[string]string     // of subnets, each kept once
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
	r.put(b.GetBinding().GetSubnet(), address, record{
		client: b.GetBinding().GetClient(), state: b.GetBinding().GetState(), changed: now, version: b.GetBinding().GetUntilMs(),
		until: now + time.Duration(min(b.GetRemainingMs(), longest.Milliseconds()*2))*time.Millisecond,
	})
}

func (r *replica) put(subnet string, address netip.Addr, n record) {
	name, ok := r.names[subnet]
	if !ok {
		name = subnet
		r.names[subnet] = subnet
	}
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
