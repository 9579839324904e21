package edge

import (
	"net/netip"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
)

const maxBindings = 100_000

// bindings are the addresses that this edge saw being given to machines on its own segment.
type bindings struct {
	mu  sync.Mutex // guards all
	all map[netip.Addr]config.Binding
}

// see notes that a machine has an address.
func (b *bindings) see(mac string, address netip.Prefix, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil || len(b.all) >= maxBindings {
		b.all = map[netip.Addr]config.Binding{}
	}
	b.all[address.Addr()] = config.Binding{MAC: mac, Address: address, Window: until}
}

// given is what is known of an address that this edge gave. Tokens for secrets go by it.
func (e *Edge) given(a netip.Addr) (config.Binding, bool) {
	e.bindings.mu.Lock()
	defer e.bindings.mu.Unlock()
	b, ok := e.bindings.all[a]
	return b, ok
}

// bound is what is known of an address, whoever gave it.
func (e *Edge) bound(a netip.Addr) (config.Binding, bool) {
	if b, ok := e.given(a); ok {
		return b, true
	}
	return e.beside(a)
}
