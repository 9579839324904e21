package edge

import (
	"context"
	"net/http"
	"sync"

	"github.com/kiln-farm/kiln/edge/config"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// configuration answers machines that ask for what they are to be.
func (e *Edge) configuration() http.Handler {
	finder := &config.Finder{Index: e.cfg.Intents.Index, Bound: e.bound, Now: e.now, Keys: func() []config.Key {
		key, err := config.ParseKey(e.cfg.Intents.Key())
		if err != nil {
			return nil
		}
		return []config.Key{key}
	}}
	h := &config.Handler{Find: finder.Find, Once: &onceHere{taken: map[taken]bool{}}, Report: func(r config.Read) {
		event := &kilnv1.BootEvent{Machine: r.Machine, Boot: r.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_CONFIG, Detail: r.What, Bytes: int64(r.Bytes), Address: r.From.Addr().String()}
		if r.Err != nil {
			event.Detail += ": " + r.Err.Error()
		}
		if r.Machine != "" {
			e.cfg.Events.Add(event)
		}
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.Serves(r.URL.Path) {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// taken is a document with secrets that a machine has read in a boot.
type taken struct {
	machine string
	boot    config.BootID
	what    string
}

const maxTaken = 100_000

// onceHere remembers what was read at this edge.
type onceHere struct {
	mu    sync.Mutex // guards taken
	taken map[taken]bool
}

// Take implements config.Once.
func (o *onceHere) Take(_ context.Context, machine string, boot config.BootID, what string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := taken{machine, boot, what}
	if o.taken[t] {
		return false, nil
	}
	if len(o.taken) >= maxTaken {
		clear(o.taken)
	}
	o.taken[t] = true
	return true, nil
}
