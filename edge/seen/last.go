package seen

import (
	"net/netip"
	"sync"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// last remembers which machine used an address last, by what it asked for. It names lines in timelines and proves nothing:
// access goes by bindings.
type last struct {
	mu  sync.Mutex // guards all
	all map[netip.Addr]*kilnv1.BootEvent
}

const maxLast = 100_000

// note remembers an event's machine by its address.
func (h *last) note(e *kilnv1.BootEvent) {
	address, err := netip.ParseAddr(e.GetAddress())
	if err != nil || e.GetMachine() == "" && e.GetMac() == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil || len(h.all) >= maxLast {
		h.all = map[netip.Addr]*kilnv1.BootEvent{}
	}
	h.all[address] = e
}

// of is the last event of whoever used an address; nil when nobody did.
func (h *last) of(address netip.Addr) *kilnv1.BootEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[address]
}
