package pool

import (
	"slices"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/internal/recent"
)

const (
	maxAssociated = 1 << 16 // clients whose associations are remembered
	maxOfClient   = 8
)

// associations are by what (DUID and IAID) clients of IPv6 hold their addresses. EDK2 boots with one association, its IP stack has
// the same address by another one, and gives that back in the middle of the boot: an address is free when the last one has.
type associations struct {
	mu  sync.Mutex // guards the holders
	all *recent.Memory[replica.Tenant, *holder]
}

func newAssociations() *associations {
	return &associations{all: recent.New[replica.Tenant, *holder](maxAssociated, 0, nil)}
}

type holder struct {
	by     []association
	others time.Duration // until when other edges may have told the client something
}

type association struct {
	id    string
	until time.Duration // that it was told
}

// hold notes that a client was told its address for an association. before is until when it had the address before.
func (a *associations) hold(t replica.Tenant, id string, until, before time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h, ok := a.all.Get(t)
	if !ok {
		h = &holder{others: before}
		a.all.Put(t, h, 1)
	}
	h.by = slices.DeleteFunc(h.by, func(b association) bool { return b.id == id })
	if len(h.by) == maxOfClient {
		h.others = max(h.others, h.by[0].until)
		h.by = h.by[1:]
	}
	h.by = append(h.by, association{id, until})
}

// elsewhere notes that another edge has told a client something for its address since: for which association only that edge knows.
func (a *associations) elsewhere(t replica.Tenant, until time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h, ok := a.all.Get(t); ok {
		h.others = max(h.others, until)
	}
}

// drop ends one, and says whether it was the last: as far as this edge knows nobody holds the address any more.
func (a *associations) drop(t replica.Tenant, id string, now time.Duration) (last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h, ok := a.all.Get(t)
	if !ok {
		return false
	}
	had := len(h.by)
	h.by = slices.DeleteFunc(h.by, func(b association) bool { return b.id == id })
	had -= len(h.by)
	h.by = slices.DeleteFunc(h.by, func(b association) bool { return b.until <= now })
	if had == 0 || len(h.by) > 0 || h.others > now {
		return false
	}
	a.all.Forget(t)
	return true
}

// forget forgets a client's: it has no address any more.
func (a *associations) forget(t replica.Tenant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.Forget(t)
}
