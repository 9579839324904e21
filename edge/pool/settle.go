package pool

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/decide"
	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/edge/pool/terms"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// bindFor has an address committed for a client, and notes what came of it, for both families: told is for how long the client may be
// told to have it. command has what else the farm is to know.
func (p *Pool) bindFor(ctx context.Context, q who, xid string, s *subnets.Subnet, address netip.Addr, wanted time.Duration, command *kilnv1.BindCommand) (result *kilnv1.BindResult, told time.Duration, err error) {
	command.Operation, command.Subnet, command.Address = kilnv1.BindCommand_OPERATION_BIND, s.Name, address.String()
	command.Client, command.Mac, command.Hostname, command.Edge, command.ForMs = q.client, q.mac, q.hostname, p.cfg.Edge, terms.Committed(wanted).Milliseconds()
	key := strings.Join([]string{"bind", q.client, xid, s.Name, address.String(), wanted.String()}, " ")
	if result, err = p.commits.Bind(ctx, key, command); err != nil {
		return nil, 0, err
	}
	left := time.Duration(result.GetRemainingMs()) * time.Millisecond
	switch result.GetVerdict() {
	case kilnv1.BindVerdict_BIND_VERDICT_DONE:
		p.settle(q, s, address, left, result)
		told = terms.Tell(wanted, left)
	case kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE:
		if other, err := netip.ParseAddr(result.GetAddress()); err == nil && left > 0 {
			p.settle(q, s, other, left, result)
		}
	case kilnv1.BindVerdict_BIND_VERDICT_TAKEN, kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE:
		p.lose(q, s, address)
	}
	return result, told, nil
}

// settle notes that an address is a client's.
func (p *Pool) settle(q who, s *subnets.Subnet, address netip.Addr, left time.Duration, result *kilnv1.BindResult) {
	now := p.now()
	p.note(s.Name, address, replica.Record{Client: q.client, State: kilnv1.BindingState_BINDING_STATE_BOUND, Until: now + left, Changed: now, Edge: p.cfg.Edge,
		Version: result.GetUntilMs(), Kept: replica.KeptTill(now+left, result.GetUntilMs(), result.GetKeptUntilMs())})
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.pledges.of[replica.Tenant{Subnet: s.Name, Client: q.client}]; n != nil {
		if n.address == address {
			p.pledges.gone(n)
		} else {
			p.pledges.back(n)
		}
	}
	p.dropFromStocks(s.Name, address)
}

// lose notes that an address is not for a client.
func (p *Pool) lose(q who, s *subnets.Subnet, address netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.pledges.of[replica.Tenant{Subnet: s.Name, Client: q.client}]; n != nil && n.address == address {
		p.pledges.gone(n)
	}
	if own, r := p.replica.Own(s.Name, q.client); own == address && !r.Holds(p.now()) {
		p.replica.Leave(replica.Tenant{Subnet: s.Name, Client: q.client}, address) // what it had is another's by now
	}
	p.dropFromStocks(s.Name, address)
}

func (p *Pool) dropFromStocks(subnet string, address netip.Addr) {
	for key, st := range p.stocks {
		if key.subnet == subnet {
			st.drop(address)
		}
	}
}

// undo tells the farm that a client has no use for its address.
func (p *Pool) undo(ctx context.Context, q question, s *subnets.Subnet, st decide.Step) Answer {
	return p.undoIt(ctx, q.who, s, st.Address, st.Do == decide.Reject, q.XID())
}

// undoIt tells the farm that a client gives an address back, or that somebody else was found to use it.
func (p *Pool) undoIt(ctx context.Context, q who, s *subnets.Subnet, address netip.Addr, inUse bool, xid string) Answer {
	operation, until := kilnv1.BindCommand_OPERATION_RELEASE, kilnv1.BindingState_BINDING_STATE_RELEASED
	if inUse && (q.machine != nil || p.gate.reject(s.Name, p.now())) {
		operation, until = kilnv1.BindCommand_OPERATION_DECLINE, kilnv1.BindingState_BINDING_STATE_DECLINED
		p.probes.bad(address)
		p.cfg.Tell(q.mac, fmt.Sprintf("somebody else uses %s of subnet %s, says its client; nobody gets it for %s", address, s.Name, badTime))
	}
	p.mu.Lock()
	was := p.replica.Get(s.Name, address)
	p.mu.Unlock()
	key := strings.Join([]string{operation.String(), q.client, xid, s.Name, address.String()}, " ")
	_, err := p.commits.Bind(ctx, key, &kilnv1.BindCommand{
		Operation: operation, Subnet: s.Name, Address: address.String(), Client: q.client, Mac: q.mac, Edge: p.cfg.Edge, ForMs: badTime.Milliseconds(), UntilMs: was.Version,
	})
	// Where nobody knows whether the farm has done it, this edge goes by that it has.
	now := p.now()
	r := replica.Record{Client: q.client, State: until, Until: max(now, was.Kept), Changed: now, Version: was.Version, Kept: was.Kept}
	if operation == kilnv1.BindCommand_OPERATION_DECLINE {
		r.Client, r.Until, r.Kept = "", max(now+badTime, was.Kept), 0
	}
	p.mu.Lock()
	if p.replica.Get(s.Name, address).Version == was.Version { // otherwise the farm has told meanwhile how it is
		p.noteLocked(s.Name, address, r)
	}
	p.mu.Unlock()
	if err != nil {
		return Answer{Mine: true, Why: err.Error()} // it runs out by itself
	}
	return Answer{Mine: true, Why: "the address is given back"}
}
