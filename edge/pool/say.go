package pool

import (
	"sync"
	"time"
)

const (
	sayEvery = time.Minute
	maxSaid  = 10_000
)

// sayings are when something was said last.
type sayings struct {
	mu sync.Mutex // guards at
	at map[string]time.Duration
}

// sayOnce says something at most once a minute.
func (p *Pool) sayOnce(key string, say func()) {
	now := p.now()
	p.sayings.mu.Lock()
	at, ok := p.sayings.at[key]
	if ok && now-at < sayEvery {
		p.sayings.mu.Unlock()
		return
	}
	if p.sayings.at == nil || len(p.sayings.at) >= maxSaid {
		p.sayings.at = map[string]time.Duration{}
	}
	p.sayings.at[key] = now
	p.sayings.mu.Unlock()
	say()
}

func (p *Pool) sayAway(q who) {
	p.sayOnce("away", func() {
		p.cfg.Log.Warn("a machine gets no address, because the farm is away", "client", q.client)
		p.cfg.Tell(q.mac, "it gets no address: the farm, which binds them, cannot be reached from this edge")
	})
}
