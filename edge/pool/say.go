package pool

// sayOnce says something at most once a minute.
func (p *Pool) sayOnce(key string, say func()) {
	if p.sayings.Due(key) {
		say()
	}
}

func (p *Pool) sayAway(q who) {
	p.sayOnce("away", func() {
		p.cfg.Log.Warn("a machine gets no address, because the farm is away", "client", q.client)
		p.cfg.Tell(q.mac, "it gets no address: the farm, which binds them, cannot be reached from this edge")
	})
}
