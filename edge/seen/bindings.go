package seen

import (
	"net/netip"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const maxBindings = 100_000

// Machines is what this edge saw of machines. The zero value is ready.
type Machines struct {
	bindings bindings
	windows  windows
	last     last
}

// Gave notes that a machine was given an address on this edge's own segment, and until when it counts as booting.
func (m *Machines) Gave(mac string, address netip.Prefix, until time.Time) {
	m.bindings.see(mac, address, until)
}

// Given is what is known of an address that this edge gave. Tokens for secrets go by it.
func (m *Machines) Given(a netip.Addr) (config.Binding, bool) { return m.bindings.of(a) }

// Bound is what is known of an address, whoever gave it.
func (m *Machines) Bound(a netip.Addr) (config.Binding, bool) {
	if b, ok := m.Given(a); ok {
		return b, true
	}
	return m.beside(a)
}

// Boots notes that a machine boots: this edge heard its firmware.
func (m *Machines) Boots(mac string, until time.Time) { m.windows.open(mac, until) }

// Booting is until when a machine counts as booting.
func (m *Machines) Booting(mac string) (until time.Time, ok bool) { return m.windows.of(mac) }

// Note remembers an event's machine by its address.
func (m *Machines) Note(e *kilnv1.BootEvent) { m.last.note(e) }

// Last is the last event of whoever used an address; nil when nobody did.
func (m *Machines) Last(a netip.Addr) *kilnv1.BootEvent { return m.last.of(a) }

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

func (b *bindings) of(a netip.Addr) (config.Binding, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.all[a]
	return one, ok
}
