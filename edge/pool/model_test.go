package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/pool/decide"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// world is a segment with edges and clients, where packets get lost, are late and come twice. Its time is not real.
type world struct {
	t     *testing.T
	farm  *testFarm
	edges []edge
	all   sync.WaitGroup
	ended chan struct{}

	described map[string]*kilnv1.Machine // by MAC

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	faults bool
	held   map[netip.Addr]*machine // by whom, as clients believe
	acks   int
	what   map[string]int
}

func (w *world) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(100) < percent
}

func (w *world) between(least, most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return least + time.Duration(w.random.Int64N(int64(most-least)))
}

// send carries a packet to edges, and their answers back: some are lost, late or doubled.
func (w *world) send(m *machine, p packet, only string) {
	for i, e := range w.edges {
		if only != "" && e.own[0].Addr().String() != only {
			continue
		}
		copies := 1
		if w.isFaulty() && w.chance(10) {
			copies = 2
		}
		for range copies {
			if w.isFaulty() && w.chance(10) {
				continue
			}
			w.all.Go(func() {
				time.Sleep(w.late())
				if i > 0 && p.message == discover {
					time.Sleep(150 * time.Millisecond)
				}
				w.answer(m, p, e)
			})
		}
	}
}

func (w *world) isFaulty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults
}

func (w *world) late() time.Duration {
	if w.isFaulty() && w.chance(5) {
		return w.between(0, decide.Reorder-time.Second)
	}
	return w.between(0, 5*time.Millisecond)
}

// answer is what an edge does, and what of it reaches the client.
func (w *world) answer(m *machine, p packet, e edge) {
	c := p.classify(w.t, e.own...)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	a := e.Decide(ctx, c, w.described[p.mac], "")
	if !a.Give && a.Refuse == "" {
		return
	}
	plan := dhcp.Plan{Mode: dhcp.Full, Lease: a.Lease, Authoritative: true, Options: a.Options, Refuse: a.Refuse}
	reply, _, err := dhcp.Reply(c, plan, e.own[0].Addr())
	if err != nil {
		return
	}
	if reply.MessageType() == dhcpv4.MessageTypeAck {
		w.checkCommitted(p, reply, e)
	}
	if w.isFaulty() && w.chance(10) {
		return
	}
	time.Sleep(w.late())
	select {
	case m.in <- reply:
	default:
	}
}

// checkCommitted: what a client is told is committed, and for longer.
func (w *world) checkCommitted(p packet, reply *dhcpv4.DHCPv4, e edge) {
	address, _ := netip.AddrFromSlice(reply.YourIPAddr.To4())
	client, left := w.farm.binding("a", address)
	told := reply.IPAddressLeaseTime(0)
	if client != clientOf(p.mac) || left < told {
		w.t.Errorf("%s was told to have %s for %s; committed is that %q has it for %s", p.mac, address, told, client, left)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks++
	if p.asked != "" && p.server != "" && w.farm.isAway(e.cfg.Edge) {
		w.what["offers taken without the farm"]++
	}
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what[what]++
}

// trouble takes the farm away from some edges or all, or its answers, and brings it back.
func (w *world) trouble() {
	pools := make([]*Pool, len(w.edges))
	for i, e := range w.edges {
		pools[i] = e.Pool
	}
	for end := time.Now().Add(12 * time.Hour); time.Now().Before(end); {
		time.Sleep(w.between(time.Minute, 30*time.Minute))
		switch {
		case w.chance(20):
			w.farm.cut(true)
			w.count("answers lost")
		case w.chance(30):
			w.farm.cut(false, pools...)
			w.count("farm away")
		default:
			one := int(w.between(0, time.Duration(len(pools))))
			w.farm.cut(false, pools[one:]...)
			w.count(fmt.Sprint("farm away from the edges after ", one))
		}
		time.Sleep(w.between(time.Second, 40*time.Minute))
		w.farm.heal(pools...)
	}
}

func TestNoAddressIsEverTwoClients(t *testing.T) {
	seeds := 3
	if n, err := strconv.Atoi(os.Getenv("KILN_POOL_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { live(t, uint64(seed)) })
		})
	}
}

func clientMAC(i int) string { return fmt.Sprintf("02:00:00:00:00:%02x", i) }

// live has 40 clients share 30 addresses for twelve hours with three edges, and then 30 of them all get one.
func live(t *testing.T, seed uint64) {
	s := subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.39")
	in := room(s)
	described := map[string]*kilnv1.Machine{}
	for i := 0; i < 30; i += 3 { // what these have they are given without the farm, too
		described[clientMAC(i)] = &kilnv1.Machine{Name: fmt.Sprint("m", i), Macs: []string{clientMAC(i)}}
		in.Machines = append(in.Machines, described[clientMAC(i)])
	}
	w := &world{described: described, t: t, farm: newTestFarm(t, in), random: rand.New(rand.NewPCG(seed, 1)), faults: true, held: map[netip.Addr]*machine{}, what: map[string]int{}, ended: make(chan struct{})}
	w.farm.delay = func() time.Duration {
		if w.isFaulty() && w.chance(1) {
			return w.between(time.Second, 5*time.Second)
		}
		return w.between(time.Millisecond, 10*time.Millisecond)
	}
	w.farm.again = func() time.Duration {
		if !w.isFaulty() || !w.chance(3) {
			return 0
		}
		return w.between(time.Millisecond, time.Minute)
	}
	for i, address := range []string{"10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"} {
		e := newEdge(t, w.farm, fmt.Sprint("edge", i))
		e.own = []netip.Prefix{netip.MustParsePrefix(address)}
		w.edges = append(w.edges, e)
	}
	const clients = 40
	var machines []*machine
	for i := range clients {
		m := &machine{w: w, mac: clientMAC(i), in: make(chan *dhcpv4.DHCPv4, 64)}
		machines = append(machines, m)
		w.all.Go(func() {
			if i >= 30 { // these leave when it gets quiet
				for end := time.Now().Add(12 * time.Hour); time.Now().Before(end); {
					if m.dora() {
						m.sleep(w.between(time.Second, 2*time.Hour))
						if time.Now().Before(m.until) {
							m.release()
						} else {
							m.drop()
						}
					}
					m.sleep(w.between(time.Second, 5*time.Minute))
				}
				return
			}
			m.run()
		})
	}
	w.trouble()
	w.mu.Lock()
	w.faults = false
	w.mu.Unlock()
	time.Sleep(3 * time.Hour)
	without := 0
	w.mu.Lock()
	for _, m := range machines[:30] {
		if !m.address.IsValid() {
			without++
		}
	}
	t.Logf("%d ACKs, %v; %d calls with %d commands", w.acks, w.what, w.farm.calls, w.farm.commands)
	w.mu.Unlock()
	if without > 0 {
		t.Errorf("%d of 30 clients have no address at the end", without)
	}
	perClient := map[string]int{}
	w.farm.mu.Lock()
	for _, b := range w.farm.state.Bindings() {
		if b.GetClient() != "" && b.GetState() == 1 && b.GetUntilMs() > w.farm.steady() {
			perClient[b.GetClient()]++
		}
	}
	w.farm.mu.Unlock()
	if w.what["offers taken without the farm"] == 0 {
		t.Error("nobody took an offer without the farm: this run checked nothing of them")
	}
	for c, n := range perClient {
		if n > 1 {
			t.Errorf("%s has %d addresses", c, n)
		}
	}
	close(w.ended)
	w.all.Wait()
	for _, e := range w.edges {
		e.end()
	}
}
