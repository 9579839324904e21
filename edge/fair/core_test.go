package fair

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// world is a line that all connections share on which something is on its way, as TCP does. Time goes in steps.
type world struct {
	core   *core
	now    time.Duration
	line   float64 // bytes a second
	all    []*conn
	random *rand.Rand
}

// conn is a connection that never has enough.
type conn struct {
	t       *Transfer
	client  string
	most    float64 // bytes a second that its client takes; 0: all that come
	left    float64 // bytes of its turn that have not arrived
	sent    float64 // bytes that have arrived
	longest time.Duration
	asked   time.Duration
}

func newWorld(cfg Config, line float64) *world {
	return &world{core: New(cfg).core, line: line, random: rand.New(rand.NewPCG(1, 2))}
}

func (w *world) join(client, flow string, most float64) *conn {
	c := &conn{t: &Transfer{flow: flow}, client: client, most: most}
	if full := w.core.enter(c.t, client, w.now); full != nil {
		return nil
	}
	w.all = append(w.all, c)
	w.ask(c)
	return c
}

func (w *world) ask(c *conn) {
	c.asked = w.now
	w.core.want(c.t, 1<<30, w.now)
	w.granted()
}

func (w *world) granted() {
	for _, t := range w.core.ready {
		for _, c := range w.all {
			if c.t == t {
				c.left = float64(t.size)
				c.longest = max(c.longest, w.now-c.asked)
			}
		}
	}
	w.core.ready = w.core.ready[:0]
}

func (w *world) run(d time.Duration) {
	const step = time.Millisecond
	for end := w.now + d; w.now < end; w.now += step {
		active, left := 0, w.line*step.Seconds()
		for _, c := range w.all {
			if c.left > 0 && c.most == 0 {
				active++
			}
			if c.left > 0 && c.most > 0 {
				n := min(c.left, c.most*step.Seconds(), left)
				c.left, c.sent, left = c.left-n, c.sent+n, left-n
			}
		}
		for _, c := range w.all {
			if c.left > 0 && c.most == 0 && active > 0 {
				n := min(c.left, left/float64(active))
				c.left, c.sent = c.left-n, c.sent+n
			}
		}
		w.core.pump(w.now)
		w.granted()
		for _, i := range w.random.Perm(len(w.all)) { // otherwise those who began together stay in step
			c := w.all[i]
			if c.t.state == working && c.left <= 0 {
				if w.core.end(c.t, c.t.size, w.now) {
					w.core.landed(c.t, w.now)
				}
				w.granted()
				w.ask(c)
			}
		}
	}
}

func total(all []*conn) (sent float64) {
	for _, c := range all {
		sent += c.sent
	}
	return sent
}

// least is the smallest share of a set of connections, and the longest that one of them waited.
func least(all []*conn, want float64) (share float64, longest time.Duration) {
	share = 1e9
	for _, c := range all {
		share, longest = min(share, c.sent/want), max(longest, c.longest)
	}
	return share, longest
}

func TestEachClientHasItsShareOfALineThatIsFull(t *testing.T) {
	for _, c := range []struct {
		name           string
		greedy, modest int
		line           float64 // bytes a second
		least          float64 // of an equal share
	}{
		{"64 connections of one client beside one of another", 64, 1, 10e6, 0.9},
		{"64 connections of one client beside 20 clients", 64, 20, 10e6, 0.9},
		{"64 connections of one client beside 200 clients", 64, 200, 100e6, 0.85},
		{"250 connections of one client beside 20 clients on a thin line", 250, 20, 1e6, 0.8},
		{"nobody is greedy", 1, 999, 100e6, 0.75},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(Config{}, c.line)
			var greedy, modest []*conn
			for range c.greedy {
				greedy = append(greedy, w.join("greedy", "", 0))
			}
			for n := range c.modest {
				modest = append(modest, w.join(fmt.Sprint(n), "", 0))
			}
			w.run(10 * time.Second) // what the first ones got when they were alone has arrived
			for _, m := range w.all {
				m.sent, m.longest, m.asked = 0, 0, w.now
			}
			const d = 10 * time.Second
			w.run(d)
			want := c.line * d.Seconds() / float64(c.modest+1)
			share, longest := least(modest, want)
			took := total(greedy)
			if share < c.least {
				t.Errorf("the least of the modest got %.2f of its share, want %.2f; the greedy one got %.2f", share, c.least, took/want)
			}
			if took/want > 1.25 {
				t.Errorf("the greedy client got %.2f shares, want 1", took/want)
			}
			if longest > 4*time.Second {
				t.Errorf("a client waited %v for a turn; EDK2 gives up after 5 s", longest)
			}
		})
	}
}

func TestNobodyWaitsForThoseWhoDoNotTakeTheirBytes(t *testing.T) {
	w := newWorld(Config{}, 50e6)
	for n := range 500 { // each a client of its own: nothing at all, or a little
		w.join(fmt.Sprint("slow", n), "", float64(n%2)*2000+1)
	}
	w.run(2 * time.Second)
	var modest []*conn
	for n := range 10 {
		modest = append(modest, w.join(fmt.Sprint(n), "", 0))
	}
	w.run(5 * time.Second)
	if share, longest := least(modest, 50e6*5/10); share < 0.8 || longest > time.Second {
		t.Errorf("beside 500 slow readers the least got %.2f of its share and waited up to %v, want 0.8 and 1s", share, longest)
	}
}

func TestAClientWhoIsSlowNoMoreCountsAgain(t *testing.T) {
	w := newWorld(Config{Bytes: 1 << 20}, 50e6)
	slow := w.join("slow", "", 10e3)
	w.join("other", "", 0)
	w.run(time.Second)
	if !slow.t.client.slow {
		t.Fatal("a client that takes 10 KB/s is not slow")
	}
	slow.most = 0
	w.run(5 * time.Second)
	if slow.t.client.slow {
		t.Error("a client that takes everything again is slow for ever")
	}
}

func TestFlowsOfAClientTakeTurns(t *testing.T) {
	w := newWorld(Config{}, 10e6)
	var many []*conn
	for range 30 {
		many = append(many, w.join("proxy", "m1", 0))
	}
	one := w.join("proxy", "m2", 0)
	w.join("other", "", 0)
	w.run(3 * time.Second)
	for _, c := range w.all {
		c.sent = 0
	}
	w.run(10 * time.Second)
	if ratio := one.sent / total(many); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("of two machines behind one address the one with one connection got %.2f of what the one with 30 got, want 1", ratio)
	}
}

func TestAClientThatIsAloneHasAll(t *testing.T) {
	w := newWorld(Config{}, 10e6)
	for range 8 {
		w.join("only", "", 0)
	}
	w.run(5 * time.Second)
	if sum := total(w.all); sum < 0.95*5*10e6 {
		t.Errorf("a client that is alone got %.2f of the line", sum/(5*10e6))
	}
}

func TestAQueueThatIsFullHasRoomForNewClients(t *testing.T) {
	w := newWorld(Config{Transfers: 100, PerClient: 60}, 1e6)
	joined := 0
	for w.join("greedy", "", 0) != nil {
		joined++
	}
	if joined != 50 {
		t.Errorf("one client began %d of 100 transfers, want 50: half of them are for others", joined)
	}
	for n := range 50 {
		if w.join(fmt.Sprint(n), "", 0) == nil {
			t.Fatalf("client %d of 50 found no room", n)
		}
	}
	if w.join("late", "", 0) != nil {
		t.Error("transfer 101 of 100 was taken")
	}
	if got := w.core.refused; got != 2 {
		t.Errorf("%d refusals were counted, want 2", got)
	}
}

// check tells what does not add up.
func (c *core) check() error {
	counted, transfers, waiting := int64(0), 0, 0
	for e := c.turns.Front(); e != nil; e = e.Next() {
		t := e.Value.(*Transfer)
		if t.state != working {
			return fmt.Errorf("a turn counts that is in state %d", t.state)
		}
		counted += t.size
	}
	for _, k := range c.clients {
		transfers += k.transfers
		for _, f := range k.flows {
			waiting += len(f.waiting)
			if len(f.waiting) == 0 {
				return fmt.Errorf("client %s has an empty flow", k.key)
			}
		}
		if len(k.flows) > len(k.byName) || k.working < 0 || k.working > k.transfers {
			return fmt.Errorf("client %s has %d flows, %d by name, %d turns, %d transfers", k.key, len(k.flows), len(k.byName), k.working, k.transfers)
		}
		if c.may(k) && k.place == nil {
			return fmt.Errorf("client %s may have a turn and is not in the ring", k.key)
		}
	}
	if c.atWork < c.room() {
		for e := c.ring.Front(); e != nil; e = e.Next() {
			if c.may(e.Value.(*client)) {
				return fmt.Errorf("client %s waits, and there is room", e.Value.(*client).key)
			}
		}
	}
	if counted != c.atWork || transfers != c.count || waiting != c.waiting {
		return fmt.Errorf("%d bytes at work, counted %d; %d transfers, counted %d; %d wait, counted %d", counted, c.atWork, transfers, c.count, waiting, c.waiting)
	}
	return nil
}

func TestWhateverComesAddsUp(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := New(Config{Bytes: 200 << 10, Transfers: 40, PerClient: 20, Turns: 1 + int(seed%3)}).core
		var now time.Duration
		var all []*Transfer
		for step := range 2000 {
			now += time.Duration(r.IntN(40)) * time.Millisecond
			if len(all) == 0 || r.IntN(5) == 0 {
				n := &Transfer{flow: fmt.Sprint(r.IntN(2))}
				if c.enter(n, fmt.Sprint(r.IntN(6)), now) == nil {
					all = append(all, n)
				}
			}
			if len(all) == 0 {
				continue
			}
			i := r.IntN(len(all))
			x := all[i]
			switch {
			case r.IntN(12) == 0:
				c.leave(x, now)
				all = append(all[:i], all[i+1:]...)
			case x.state == idle:
				c.want(x, int64(r.IntN(1<<20)), now)
			case x.state == queued && r.IntN(4) == 0:
				c.forget(x)
			case x.state == working:
				c.end(x, int64(r.IntN(1<<20)), now)
			case x.state == landing:
				c.landed(x, now)
			}
			c.pump(now)
			if err := c.check(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
		for _, x := range all {
			c.leave(x, now)
		}
		if err := c.check(); err != nil || len(c.clients) > 0 || c.ring.Len()+c.free.Len() > 0 || c.atWork != 0 {
			t.Fatalf("seed %d: when all have left: %v, %d clients, %d in the ring, %d bytes at work", seed, err, len(c.clients), c.ring.Len(), c.atWork)
		}
	}
}
