package room

import (
	"context"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim"
	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	shortRun   = 15 * time.Second // of faults, in make test
	shortLease = 12 * time.Second
	shortBoot  = 10 * time.Second // the least that a subnet may say
	longLease  = 60 * time.Second
	direct     = 60 // machines on the edges' segment in the long run, and half as many of IPv6
	leastSix   = 60 // machines of IPv6 behind relays: a tenth of the others, and not less than this
	breath     = 2 * time.Second
	calmDown   = 3 * time.Minute // until every machine has an address
	told       = 20              // violations that are told in full

	describedEvery = 3 // every third machine is described, so that its address is kept for it
)

// TestEveryMachineKeepsItsAddressWhateverBreaks is the whole of this package; see its comment.
func TestEveryMachineKeepsItsAddressWhateverBreaks(t *testing.T) {
	if testing.Short() {
		t.Skip("a farm of processes; not in -short")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: the farm and its machines need networks of their own: ", err)
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("SKIPPED: kiln is built for this: ", err)
	}
	r := &report{Seed: 1, Machines: 240, Edges: 2, Injected: map[string]int{}} // make chaos tries other seeds
	span, short := shortRun, true
	if text := os.Getenv("KILN_DHCP"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("KILN_DHCP=%s: it is how long faults go on, such as 5m", text)
		}
		r.Seed, r.Machines, r.Edges, short = uint64(time.Now().UnixNano()), 10_000, 3, false
	}
	number(t, "KILN_DHCP_SEED", func(n uint64) { r.Seed = n })
	number(t, "KILN_DHCP_MACHINES", func(n uint64) { r.Machines = int(n) })
	r.Six.Machines = max(leastSix, r.Machines/10)
	t.Logf("KILN_DHCP_SEED=%d repeats what machines do and the order of faults", r.Seed)
	run(t, r, span, short)
}

func number(t *testing.T, name string, set func(uint64)) {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s: it is a number", name, text)
		}
		set(n)
	}
}

func run(t *testing.T, r *report, span time.Duration, short bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// A third more addresses than machines, so that some go from one to another.
	s := setting{edges: r.Edges, addresses: r.Machines/2*4/3 + 100, six: r.Six.Machines + 10, lease: longLease, boot: longLease / 2}
	o := dhcpsim.Options{Seed: r.Seed, Machines: r.Machines, Direct: direct, Six: r.Six.Machines, SixDirect: direct / 2, Spread: 40 * time.Second, Pace: 90 * time.Second, Loss: 0.02, Twice: 0.02}
	if short {
		s.lease, s.boot = shortLease, shortBoot
		o.Direct, o.SixDirect, o.Spread, o.Pace = 12, 6, 2*time.Second, 8*time.Second
	}
	dir := os.Getenv("KILN_CHAOS_REPORT")
	if dir == "" {
		dir = t.TempDir()
	}
	for i := 0; i < r.Machines; i += describedEvery {
		s.known = append(s.known, dhcpsim.MAC(i))
	}
	w := newWorld(ctx, t, dir, r.Seed, s)
	o.Networks, o.Log = w.networks, packetLog(t)
	sim := dhcpsim.New(o, w.wire, history.New(w.pools...))
	begin := time.Now()
	living, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() { sim.Run(living); close(done) }()

	if short {
		w.sleep(ctx, o.Spread)
	} else {
		w.sleep(ctx, o.Spread+30*time.Second)
	}
	w.breakThings(ctx, t, r, time.Now().Add(span), short)
	sim.Calm(ctx)
	calm := time.Now()
	homeless := sim.Homeless(ctx)
	for ; homeless > 0 && time.Since(calm) < calmDown; homeless = sim.Homeless(ctx) {
		w.sleep(ctx, 200*time.Millisecond)
	}
	r.Calm = time.Since(calm).Seconds()
	if homeless > 0 {
		t.Errorf("after %s without faults %d well-behaved machines have no address", calmDown, homeless)
	}
	sim.Freeze(ctx)
	w.sleep(ctx, time.Second) // for what is on its way to the farm
	books, err := w.books(ctx)
	at := sim.Now()
	stop()
	<-done
	if err != nil {
		t.Error("the farm's books: ", err)
	}
	r.judge(t, sim, books, at)
	r.Seconds = time.Since(begin).Seconds()
	if err := lab.WriteReport(dir, "dhcp", r, r.text()); err != nil {
		t.Error(err)
	}
	t.Log(r.text())
	if short {
		w.end(t)
	}
}

// packetLog is where every packet is told of, if anybody wants to know.
func packetLog(t *testing.T) io.Writer {
	path := os.Getenv("KILN_DHCP_LOG")
	if path == "" {
		return nil
	}
	file, err := os.Create(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// breakThings injects one fault after the other until the end: every kind once in an order that the seed decides, and so again.
func (w *world) breakThings(ctx context.Context, t *testing.T, r *report, end time.Time, short bool) {
	todo := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.long && short })
	order := rand.New(rand.NewPCG(r.Seed, 2))
	for time.Now().Before(end) && ctx.Err() == nil {
		order.Shuffle(len(todo), func(a, b int) { todo[a], todo[b] = todo[b], todo[a] })
		for _, f := range todo {
			if !time.Now().Before(end) {
				break
			}
			w.inject(ctx, t, r, f)
			if !short {
				w.sleep(ctx, breath)
			}
		}
	}
	for _, f := range faults {
		switch {
		case f.long && short:
			r.Skipped = append(r.Skipped, f.kind+": only in make chaos")
		case r.Injected[f.kind] == 0:
			r.Skipped = append(r.Skipped, f.kind+": no time was left")
		}
	}
}

func (w *world) inject(ctx context.Context, t *testing.T, r *report, f fault) {
	begun := time.Now()
	one, cancel := context.WithTimeout(ctx, 2*wholeAgain)
	defer cancel()
	if err := f.inject(one, w); err != nil {
		t.Errorf("%s: %v", f.kind, err)
	}
	over := time.Now()
	if err := w.await(ctx); err != nil {
		t.Errorf("after %s: %v", f.kind, err)
	}
	for _, n := range w.farm.Nodes() {
		if n.Fell() {
			t.Errorf("after %s %s ended by itself: %s", f.kind, n.Name, n.Said())
			if err := n.Start(); err != nil {
				t.Error(err)
			}
		}
	}
	r.Injected[f.kind]++
	t.Logf("%s  %s took %.1f s, and the farm was whole after another %.1f s", begun.Format("15:04:05"), f.kind, over.Sub(begun).Seconds(), time.Since(over).Seconds())
}

// judge compares what machines believe with what must be.
func (r *report) judge(t *testing.T, sim *dhcpsim.Sim, books []history.Entry, at time.Duration) {
	t.Helper()
	m := sim.Model
	m.Need(at, sim.Want())
	m.Compare(at, books)
	r.Stats, r.Behaviour, r.Violations = m.Stats, sim.Counts(), len(m.Violations)
	r.Six.Stats, r.Six.Behaviour, r.Six.Messages = m.Six, sim.Counts6(), m.Six.Messages
	for _, b := range m.Beliefs(at) {
		*r.of(b.Address, &r.Compared, &r.Six.Compared)++
	}
	for _, b := range books {
		*r.of(b.Address, &r.Bindings, &r.Six.Bindings)++
	}
	known := sim.MACs()
	for _, b := range books {
		if b.Bound && !known[b.MAC] {
			t.Errorf("%s is bound to %q, which never asked for it", b.Address, b.MAC)
		}
	}
	r.ACKs, r.Six.ACKs = byName(m.Stats.ACKs), byName(m.Six.ACKs)
	kinds := map[history.Kind]int{}
	for _, v := range m.Violations {
		if kinds[v.Kind]++; kinds[v.Kind] <= told {
			t.Error(v)
		}
	}
	if len(kinds) > 0 {
		t.Errorf("violations by kind: %v", kinds)
	}
	if len(r.Injected) == 0 {
		t.Error("there were no faults: this run checked nothing")
	}
	r.enough(t, "IPv4", m.Stats, r.Compared)
	r.enough(t, "IPv6", m.Six, r.Six.Compared)
}

// of is one of two, by the family of an address.
func (r *report) of(a netip.Addr, four, six *int) *int {
	if a.Is6() {
		return six
	}
	return four
}

func byName(of map[history.Mode]int) map[string]int {
	all := map[string]int{}
	for mode, n := range of {
		all[mode.String()] = n
	}
	return all
}

// enough finds what a run did not check of a family.
func (r *report) enough(t *testing.T, family string, s history.Stats, compared int) {
	t.Helper()
	for what, n := range map[string]int{"first addresses": s.ACKs[history.Selecting], "renewals": s.ACKs[history.Renewing],
		"INIT-REBOOTs or CONFIRMs": s.ACKs[history.Rebooting], "releases": s.Releases, "addresses to compare": compared} {
		if n == 0 {
			t.Errorf("there were no %s of %s: this run checked nothing of them", what, family)
		}
	}
	if len(s.ServersThatGave) < r.Edges {
		t.Errorf("%d edges gave addresses of %s, want %d: %v", len(s.ServersThatGave), family, r.Edges, s.ServersThatGave)
	}
}

// end ends all nodes in good order.
func (w *world) end(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), wholeAgain)
	defer cancel()
	for _, n := range append(slices.Clone(w.farm.Edges()), w.farm.Coordinators()...) {
		if err := n.Terminate(ctx); err != nil {
			t.Errorf("the end of %s: %v", n.Name, err)
		}
	}
}
