package tftp

import (
	"context"
	"net/netip"

	"github.com/kiln-farm/kiln/internal/meter"
)

var drops = meter.Of("edge/tftp").Counter("kiln.edge.tftp.dropped", "{request}", "TFTP requests beyond the limits, which were not answered")

// admit decides whether a request becomes a transfer. A client repeats its request until something comes: a repetition
// starts nothing. Another request from the same port, or the same after the client has stopped to answer, means that the
// client has started again.
func (s *Server) admit(ctx context.Context, packet []byte, client netip.AddrPort, shared *sharedLine) (*transfer, context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		s.active, s.of = map[netip.AddrPort]*transfer{}, map[netip.Addr]*share{}
	}
	if old := s.active[client]; old != nil {
		if old.request == string(packet) && !old.sender.stalled.Load() {
			s.duplicates.Add(1)
			old.again = old.sender.whole.Load()
			return nil, nil
		}
		old.cancel()
		delete(s.active, client)
	}
	own := s.of[client.Addr()]
	if own != nil && int(own.transfers.Load()) >= either(s.MaxPerClient, DefaultPerClient) || !s.room() {
		s.dropped.Add(1)
		drops.Add(ctx, 1)
		return nil, nil
	}
	if own == nil {
		own = newShare(&s.clients)
		s.of[client.Addr()] = own
		s.clients.Add(1)
	}
	s.transfers.Add(1)
	own.transfers.Add(1)
	t := &transfer{request: string(packet), shared: shared, client: client}
	t.sender.share = own
	t.sender.settled = func() { s.settle(t) }
	t.silent = s.silent.PushBack(t)
	ctx, t.cancel = context.WithCancel(ctx)
	s.active[client] = t
	return t, ctx
}

// room makes room for one more transfer. Whoever sends requests with addresses of others never answers: when there is no room, the
// oldest transfer goes whose client has not answered yet. A client that is there answers long before.
func (s *Server) room() bool {
	if len(s.active) < either(s.MaxTransfers, DefaultTransfers) {
		return true
	}
	oldest := s.silent.Front()
	if oldest == nil {
		return false
	}
	t := oldest.Value.(*transfer)
	s.evicted.Add(1)
	t.cancel()
	s.heard(t)
	if s.active[t.client] == t {
		delete(s.active, t.client)
	}
	return true
}

// settle notes that a transfer's client has answered.
func (s *Server) settle(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard(t)
}

// heard takes a transfer off the list of those whose clients have not answered. It is called with mu held.
func (s *Server) heard(t *transfer) {
	if t.silent != nil {
		s.silent.Remove(t.silent)
		t.silent = nil
	}
}

// forget takes a transfer away that has ended, and tells whether its client wants the file again.
func (s *Server) forget(t *transfer, client netip.AddrPort) bool {
	t.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[client] == t {
		delete(s.active, client)
	}
	s.heard(t)
	if t.sender.share.transfers.Add(-1) == 0 {
		delete(s.of, client.Addr())
		s.clients.Add(-1)
	}
	return t.again
}
