package state

import (
	"net/netip"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Verdicts of bind, as the reasons of Refusals. A refused binding is an answer, and no fault.
const (
	RefusedBound     Refusal = "the address is another client's"
	RefusedElsewhere Refusal = "the client has another address"
	RefusedOutside   Refusal = "the address is in no pool"
	RefusedFull      Refusal = "the subnet has as many bindings as it may"
)

// MaxBindings6 is how many bindings a subnet of IPv6 may have, those that are over and not forgotten included. Pools of IPv6 have
// no end, and whoever makes hardware addresses up must not fill the state.
const MaxBindings6 = 1 << 16

const (
	maxHostname = 255
	maxForMs    = 400 * 24 * 60 * 60 * 1000
)

// bind applies a change of a binding. Whatever edges and clients say, an address is never two clients' at a time, and a client
// has one address in a subnet.
func (m *Machine) bind(c *kilnv1.BindCommand) Result {
	address, err := netip.ParseAddr(c.GetAddress())
	operation := c.GetOperation()
	anyone := operation == kilnv1.BindCommand_OPERATION_FREE || operation == kilnv1.BindCommand_OPERATION_FORGET // also what is nobody's
	if err != nil || address.Zone() != "" || c.GetClient() == "" && !anyone || len(c.GetClient()) > maxID || len(c.GetMac()) > maxID || len(c.GetEdge()) > maxID ||
		len(c.GetHostname()) > maxHostname || len(c.GetName()) > maxHostname || c.GetForMs() < 0 || c.GetForMs() > maxForMs {
		return Result{Refused: RefusedInvalid}
	}
	have := m.Binding(c.GetSubnet(), address)
	own := have != nil && have.GetClient() == c.GetClient()
	if operation != kilnv1.BindCommand_OPERATION_BIND && c.GetUntilMs() != 0 && (own || operation == kilnv1.BindCommand_OPERATION_FREE) && have.GetUntilMs() != c.GetUntilMs() {
		return Result{} // it was renewed since
	}
	switch operation {
	case kilnv1.BindCommand_OPERATION_BIND:
		return m.bindTo(c, address, have, own)
	case kilnv1.BindCommand_OPERATION_RELEASE:
		if own && have.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND {
			m.rebind(address, have, kilnv1.BindingState_BINDING_STATE_RELEASED, max(m.addresses.steady, have.GetKeptUntilMs()))
		}
		return Result{}
	case kilnv1.BindCommand_OPERATION_DECLINE:
		// Only its own client may say so: others would exhaust the pool with it.
		if own && Holds(have, m.addresses.steady) {
			m.addresses.leave(tenant{c.GetSubnet(), c.GetClient()}, address)
			m.rebind(address, have, kilnv1.BindingState_BINDING_STATE_DECLINED, max(m.addresses.steady+c.GetForMs(), have.GetKeptUntilMs()))
		}
		return Result{}
	case kilnv1.BindCommand_OPERATION_FREE:
		if Holds(have, m.addresses.steady) {
			m.rebind(address, have, kilnv1.BindingState_BINDING_STATE_RELEASED, m.addresses.steady)
		}
		return Result{}
	case kilnv1.BindCommand_OPERATION_FORGET:
		if own && !Holds(have, m.addresses.steady) {
			m.addresses.drop(place{c.GetSubnet(), address})
			m.note(Change{Kind: BindingChanged, Binding: &kilnv1.Binding{Subnet: c.GetSubnet(), Address: have.GetAddress()}})
		}
		return Result{}
	}
	return Result{Refused: RefusedInvalid}
}

func (m *Machine) bindTo(c *kilnv1.BindCommand, address netip.Addr, have *kilnv1.Binding, own bool) Result {
	subnet, a := m.room.subnets[c.GetSubnet()], &m.addresses
	own = own || a.acknowledged(have, c)
	if subnet == nil {
		return Result{Refused: RefusedOutside}
	}
	bound := own && (have.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND || Holds(have, a.steady))
	if Holds(have, a.steady) && !bound || a.reservedFor(address, c.GetMac()) {
		return Result{Refused: RefusedBound}
	}
	if other, ok := a.byClient[tenant{c.GetSubnet(), c.GetClient()}]; ok && other != address {
		b := m.Binding(c.GetSubnet(), other)
		if Holds(b, a.steady) && !a.reservedFor(other, c.GetMac()) {
			return Result{Refused: RefusedElsewhere, Binding: b}
		}
	}
	if !given(subnet, address) && !(bound && Holds(have, a.steady)) {
		return Result{Refused: RefusedOutside}
	}
	if have == nil && len(a.byAddress) >= maxBindings {
		return Result{Refused: RefusedInvalid}
	}
	if have == nil && address.Is6() && a.count6[c.GetSubnet()] >= MaxBindings6 && m.level >= sixLevel {
		return Result{Refused: RefusedFull}
	}
	until := a.steady + c.GetForMs()
	if bound {
		until = max(until, have.GetUntilMs()) // an answer that was given before may still hold
		if m.level >= sixLevel && until == have.GetUntilMs() {
			until++ // a RELEASE or DECLINE that was sent before, and comes late, is told from one of this binding by it
		}
	}
	if other, ok := a.byClient[tenant{c.GetSubnet(), c.GetClient()}]; ok && other != address {
		m.leaveFor(place{c.GetSubnet(), other})
	}
	b := &kilnv1.Binding{
		Subnet: c.GetSubnet(), Address: address.String(), Client: c.GetClient(), Mac: c.GetMac(), Hostname: c.GetHostname(), Edge: c.GetEdge(),
		State: kilnv1.BindingState_BINDING_STATE_BOUND, UntilMs: until, SinceUnixMs: m.now,
	}
	if m.level >= sixLevel {
		switch {
		case a.described[c.GetMac()]:
			b.KeptUntilMs = until
		case own:
			b.KeptUntilMs = have.GetKeptUntilMs() // it was described
		}
	}
	b.Name = m.nameFor(c, subnet, place{c.GetSubnet(), address}, have, own)
	if bound {
		b.SinceUnixMs = have.GetSinceUnixMs()
	}
	a.put(address, b)
	m.note(Change{Kind: BindingChanged, Binding: b})
	return Result{Binding: b, Name: m.nameOf(subnet, b)}
}

// acknowledged says whether a client may have been acknowledged an address since it declined it, by an edge that had not heard of
// that. It is kept for nobody else.
func (a *addresses) acknowledged(b *kilnv1.Binding, c *kilnv1.BindCommand) bool {
	return b.GetState() == kilnv1.BindingState_BINDING_STATE_DECLINED && b.GetKeptUntilMs() > a.steady && b.GetMac() == c.GetMac()
}

// rebind replaces a binding by one in another state.
func (m *Machine) rebind(address netip.Addr, b *kilnv1.Binding, to kilnv1.BindingState, until int64) {
	next := &kilnv1.Binding{
		Subnet: b.GetSubnet(), Address: b.GetAddress(), Client: b.GetClient(), Mac: b.GetMac(), Hostname: b.GetHostname(), Edge: b.GetEdge(),
		State: to, UntilMs: until, SinceUnixMs: m.now, Name: b.GetName(),
	}
	if to == kilnv1.BindingState_BINDING_STATE_DECLINED {
		next.Client, next.Name = "", ""
	}
	if until > m.addresses.steady {
		next.KeptUntilMs = b.GetKeptUntilMs()
	}
	m.addresses.put(address, next)
	m.note(Change{Kind: BindingChanged, Binding: next})
}

// leaveFor ends a client's binding, since it has another address now. One that has not run out keeps others away until then,
// but is nobody's: a client has one binding in a subnet, so that a snapshot says which one.
func (m *Machine) leaveFor(at place) {
	b := m.addresses.byAddress[at]
	switch {
	case b == nil:
	case Holds(b, m.addresses.steady):
		m.rebind(at.address, b, kilnv1.BindingState_BINDING_STATE_DECLINED, b.GetUntilMs())
	default:
		m.addresses.drop(at)
	}
}
