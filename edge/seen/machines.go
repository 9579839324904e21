package seen

import (
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/internal/recent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// most is how much is remembered of each kind.
const most = 100_000

// Machines is what this edge saw of machines. What was seen longest ago is forgotten when there is too much.
type Machines struct {
	bindings *recent.Memory[netip.Addr, config.Binding]    // addresses that it saw being given on its own segment
	windows  *recent.Memory[string, time.Time]             // until when machines boot whose firmware it heard, by MAC
	last     *recent.Memory[netip.Addr, *kilnv1.BootEvent] // which machine used an address last, by what it asked for
}

// New makes one that has seen nothing.
func New() *Machines {
	return &Machines{recent.New[netip.Addr, config.Binding](most, 0, nil), recent.New[string, time.Time](most, 0, nil), recent.New[netip.Addr, *kilnv1.BootEvent](most, 0, nil)}
}

// Gave notes that a machine was given an address on this edge's own segment, and until when it counts as booting.
func (m *Machines) Gave(mac string, address netip.Prefix, until time.Time) {
	m.bindings.Put(address.Addr(), config.Binding{MAC: mac, Address: address, Window: until}, 1)
}

// Given is what is known of an address that this edge gave. Tokens for secrets go by it.
func (m *Machines) Given(a netip.Addr) (config.Binding, bool) { return m.bindings.Get(a) }

// Bound is what is known of an address, whoever gave it.
func (m *Machines) Bound(a netip.Addr) (config.Binding, bool) {
	if b, ok := m.Given(a); ok {
		return b, true
	}
	return m.beside(a)
}

// Boots notes that a machine boots: this edge heard its firmware.
func (m *Machines) Boots(mac string, until time.Time) { m.windows.Put(mac, until, 1) }

// Booting is until when a machine counts as booting.
func (m *Machines) Booting(mac string) (until time.Time, ok bool) { return m.windows.Get(mac) }

// Note remembers an event's machine by its address. It names lines in timelines and proves nothing: access goes by Given.
func (m *Machines) Note(e *kilnv1.BootEvent) {
	address, err := netip.ParseAddr(e.GetAddress())
	if err != nil || e.GetMachine() == "" && e.GetMac() == "" {
		return
	}
	m.last.Put(address, e, 1)
}

// Last is the last event of whoever used an address; nil when nobody did.
func (m *Machines) Last(a netip.Addr) *kilnv1.BootEvent {
	e, _ := m.last.Get(a)
	return e
}
