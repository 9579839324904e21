package fair

import (
	"container/list"
	"slices"
	"time"
)

// core decides who has a turn. Times are of any clock that does not go backwards; nothing in it waits.
type core struct {
	cfg     Config
	clients map[string]*client
	ring    list.List // of *client: those whose turn comes, the next one first
	free    list.List // of *client: those who are slow, who wait for nobody and for whom nobody waits
	turns   list.List // of *Transfer: turns at work that count, the oldest first
	atWork  int64     // bytes of these
	count   int       // transfers
	rate    meter
	ready   []*Transfer // that have got their turn since this was read last

	turnsGiven, slowTurns, refused uint64
	starved, worked                time.Duration // of all clients without any turn, and of all turns that have ended
	waiting                        int           // transfers
}

// client is everybody who shares one turn.
type client struct {
	key       string
	transfers int
	working   int     // turns, those that count no more and those whose bytes have not arrived included
	flows     []*flow // that have transfers that wait
	byName    map[string]*flow
	ring      *list.List
	place     *list.Element // in the ring, where it may have a turn
	slow      bool          // its last turn took too long
	freed     time.Duration // since then it has no turn
}

// flow is one of those who share a client's turns.
type flow struct {
	name      string
	transfers int
	waiting   []*Transfer
	given     int64 // bytes, of all its turns
}

type state int

const (
	idle    state = iota
	queued        // waits for its turn
	working       // has it
	landing       // has sent everything, which has not arrived
	gone
)

func newCore(cfg Config) *core {
	return &core{cfg: cfg, clients: map[string]*client{}, rate: meter{perSecond: firstRate}}
}

// enter takes a transfer in, or says what is full.
func (c *core) enter(t *Transfer, key string, now time.Duration) *Full {
	k := c.clients[key]
	own := 0
	if k != nil {
		own = k.transfers
	}
	switch {
	case c.count >= c.cfg.Transfers:
		c.refused++
		return &Full{What: "edge", Transfers: c.count}
	case own >= c.cfg.PerClient, own >= fewTransfers && c.count >= c.cfg.Transfers/2: // the second half is for those who have few
		c.refused++
		return &Full{What: "client", Transfers: own}
	}
	if k == nil {
		k = &client{key: key, byName: map[string]*flow{}}
		c.clients[key] = k
	}
	if c.count == 0 {
		c.rate.begin(now)
	}
	k.transfers++
	c.count++
	t.client, t.of = k, k.flow(t.flow)
	t.of.transfers++
	return nil
}

// flow is the one of that name. A new one is behind nobody, and before nobody who was here before.
func (k *client) flow(name string) *flow {
	f := k.byName[name]
	if f == nil {
		f = &flow{name: name}
		for _, other := range k.byName {
			f.given = max(f.given, other.given)
		}
		k.byName[name] = f
	}
	return f
}

// leave forgets a transfer.
func (c *core) leave(t *Transfer, now time.Duration) {
	k := t.client
	switch t.state {
	case gone:
		return
	case queued:
		c.forget(t)
	case working:
		c.end(t, 0, now)
	}
	if t.state == landing {
		c.landed(t, now)
	}
	t.state = gone
	c.count--
	if t.of.transfers--; t.of.transfers == 0 {
		delete(k.byName, t.of.name)
	}
	if k.transfers--; k.transfers == 0 {
		c.unplace(k)
		delete(c.clients, k.key)
	}
	if len(c.clients) == 1 {
		for _, last := range c.clients { // it need not share any more
			c.put(last)
		}
	}
	c.pump(now)
}

// want has a transfer wait for a turn in which it can send so many bytes. It may have it at once.
func (c *core) want(t *Transfer, bytes int64, now time.Duration) {
	t.state, t.since, t.size = queued, now, bytes
	c.waiting++
	if len(t.of.waiting) == 0 {
		t.client.flows = append(t.client.flows, t.of)
	}
	t.of.waiting = append(t.of.waiting, t)
	c.put(t.client)
	c.pump(now)
}

// forget takes back what a transfer wants.
func (c *core) forget(t *Transfer) {
	k, f := t.client, t.of
	f.waiting = slices.DeleteFunc(f.waiting, func(other *Transfer) bool { return other == t })
	if len(f.waiting) == 0 {
		k.flows = slices.DeleteFunc(k.flows, func(other *flow) bool { return other == f })
	}
	if len(k.flows) == 0 {
		c.unplace(k)
	}
	t.state = idle
	c.waiting--
}

// may says whether a client may have one more turn.
func (c *core) may(k *client) bool {
	return len(k.flows) > 0 && (k.working < c.cfg.Turns || len(c.clients) == 1)
}

// put has a client wait for its turn, if it may have one.
func (c *core) put(k *client) {
	if k.place != nil || !c.may(k) {
		return
	}
	if k.ring = &c.ring; k.slow {
		k.ring = &c.free
	}
	k.place = k.ring.PushBack(k)
}

func (c *core) unplace(k *client) {
	if k.place != nil {
		k.ring.Remove(k.place)
		k.place = nil
	}
}

// pump gives turns to those who may have them now.
func (c *core) pump(now time.Duration) {
	c.expire(now)
	for c.free.Len() > 0 {
		c.serve(c.free.Front().Value.(*client), now)
	}
	for c.ring.Len() > 0 && c.atWork < c.room() {
		c.serve(c.ring.Front().Value.(*client), now)
	}
}

// serve gives the client that is next one turn, and puts it behind all others.
func (c *core) serve(k *client, now time.Duration) {
	c.unplace(k)
	if c.may(k) {
		c.give(k, now)
		c.put(k)
	}
}

// mark notes whether a client is slow.
func (c *core) mark(k *client, slow bool) {
	if k.slow == slow {
		return
	}
	c.unplace(k)
	k.slow = slow
	c.put(k)
}

// give gives a client's next transfer its turn.
func (c *core) give(k *client, now time.Duration) {
	at := 0
	for i, f := range k.flows {
		if f.given < k.flows[at].given {
			at = i
		}
	}
	f := k.flows[at]
	t := f.waiting[0]
	f.waiting[0] = nil
	if f.waiting = f.waiting[1:]; len(f.waiting) == 0 {
		k.flows = slices.Delete(k.flows, at, at+1)
	}
	c.waiting--
	c.turnsGiven++
	if k.working == 0 { // otherwise it waited for itself
		wait := now - max(t.since, k.freed)
		c.starved += wait
		t.waited += wait
	}
	t.state, t.begun = working, now
	t.size = min(t.size, c.turn(k))
	f.given += t.size
	k.working++
	if !k.slow {
		c.atWork += t.size
		t.counts = c.turns.PushBack(t)
	}
	c.ready = append(c.ready, t)
}

// turn is how many bytes a client gets in a turn.
func (c *core) turn(k *client) int64 {
	if k.slow {
		return c.cfg.Least
	}
	return max(c.cfg.Least, min(c.cfg.Most, int64(c.rate.perSecond*c.cfg.Round.Seconds())/int64(len(c.clients))))
}

// room is how many bytes may be at work: what goes in a moment, so that a thin line is not full of what a client was given
// while it was alone.
func (c *core) room() int64 {
	return min(c.cfg.Bytes, max(leastRoom, int64(c.rate.perSecond*moment.Seconds())))
}

// expire has turns that took too long count no more.
func (c *core) expire(now time.Duration) {
	for e := c.turns.Front(); e != nil; e = c.turns.Front() {
		t := e.Value.(*Transfer)
		if now-t.begun < c.cfg.Patience {
			return
		}
		c.uncount(t)
		c.mark(t.client, true)
		c.slowTurns++
	}
}

func (c *core) uncount(t *Transfer) {
	if t.counts != nil {
		c.turns.Remove(t.counts)
		c.atWork -= t.size
		t.counts = nil
	}
}

// end ends a turn in which so many bytes were sent. It tells whether others of the same client wait for them to arrive: then
// landed must follow.
func (c *core) end(t *Transfer, sent int64, now time.Duration) (lands bool) {
	c.expire(now)
	k := t.client
	if now-t.begun < c.cfg.Patience {
		c.mark(k, false)
	}
	c.uncount(t)
	c.worked += now - t.begun
	c.rate.add(sent, now)
	t.state = landing
	if lands = sent > 0 && len(k.flows) > 0 && len(c.clients) > 1; !lands {
		c.landed(t, now)
		return false
	}
	c.pump(now)
	return true
}

// landed is that what a transfer has sent has arrived.
func (c *core) landed(t *Transfer, now time.Duration) {
	if t.state != landing {
		return
	}
	t.state = idle
	if t.client.working--; t.client.working == 0 {
		t.client.freed = now
	}
	c.put(t.client)
	c.pump(now)
}

// next is when something changes by time alone; ok is false when nothing does.
func (c *core) next() (at time.Duration, ok bool) {
	if c.ring.Len() == 0 || c.turns.Len() == 0 {
		return 0, false
	}
	return c.turns.Front().Value.(*Transfer).begun + c.cfg.Patience, true
}

// meter is how fast everything goes.
type meter struct {
	perSecond float64 // bytes
	from      time.Duration
	bytes     int64
}

const (
	firstRate    = 10e6 // bytes a second, until something was measured
	meterTime    = 200 * time.Millisecond
	moment       = 250 * time.Millisecond
	fewTransfers = 8         // of a client
	leastRoom    = 512 << 10 // bytes
)

func (m *meter) begin(now time.Duration) { m.from, m.bytes = now, 0 }

func (m *meter) add(bytes int64, now time.Duration) {
	m.bytes += bytes
	if took := now - m.from; took >= meterTime {
		m.perSecond += (float64(m.bytes)/took.Seconds() - m.perSecond) / 2
		m.begin(now)
	}
}
