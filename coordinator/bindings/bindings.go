package bindings

import (
	"sync"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// bindingsQueue is how many changes a watcher may be behind; then it begins anew.
const bindingsQueue = 4096

// Kind is the duty.
func Kind() duty.Kind {
	return duty.Kind{
		Name: "bindings", Does: "tells edges and people of bindings that change",
		Hears: []state.ChangeKind{state.BindingChanged},
		New:   func(duty.Tools) duty.Duty { return &Duty{watchers: map[chan *kilnv1.Binding]bool{}} },
	}
}

// Duty tells watchers of bindings that change.
type Duty struct {
	duty.Passive

	mu       sync.Mutex // guards watchers
	watchers map[chan *kilnv1.Binding]bool
}

// Join returns the changes from now on. The channel is closed when the watcher is too far behind.
func (h *Duty) Join() (changes <-chan *kilnv1.Binding, leave func()) {
	c := make(chan *kilnv1.Binding, bindingsQueue)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, c)
	}
}

// Changed implements duty.Duty.
func (h *Duty) Changed(_ *state.Machine, changes []state.Change) {
	for _, c := range changes {
		h.tell(c.Binding)
	}
}

// tell never waits.
func (h *Duty) tell(b *kilnv1.Binding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.watchers {
		select {
		case c <- b:
		default:
			close(c)
			delete(h.watchers, c)
		}
	}
}
