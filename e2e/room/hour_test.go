package room

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim"
	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	oldLease  = 2 * time.Minute // the least that dnsmasq gives
	hourRelay = 35              // simulated machines behind the relay agent
	hourFloor = 20              // and on the segment of the servers
	hourAsk   = time.Minute     // patience with what takes seconds
	renewsIn  = oldLease + 20*time.Second
	hourPools = 200 // addresses behind the relay
	newcomers = 3
)

// hour is a network with a dnsmasq that is to be replaced.
type hour struct {
	*world
	t      *testing.T
	dir    string
	old    *lab.Guest
	server *exec.Cmd // the dnsmasq
	sim    *dhcpsim.Sim
	guests []*tenant
}

// tenant is a machine with a client that nobody here wrote.
type tenant struct {
	stranger
	guest   *lab.Guest
	mac     string
	dir     string
	client  *exec.Cmd
	address string
}

// TestAnOperatorsHour replaces a running dnsmasq by two edges as docs/dhcp.md says: machines of all kinds have addresses, some
// renew in the moment of the change, and none loses its address. In the end one of the edges dies.
func TestAnOperatorsHour(t *testing.T) {
	if os.Getenv("KILN_E2E") != "full" {
		t.Skip("it takes five minutes: make e2e does it (KILN_E2E=full)")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: the farm and its machines need networks of their own: ", err)
	}
	for _, program := range []string{"dnsmasq", "busybox", "dhclient", "dhcpcd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %v; make e2e installs it", err)
		}
	}
	ctx := t.Context()
	h := &hour{t: t, dir: t.TempDir(), world: newWorld(ctx, t, t.TempDir(), 1, setting{addresses: hourPools, bare: true})}
	h.oldServer()
	living, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	h.sim = dhcpsim.New(dhcpsim.Options{Seed: 1, Machines: hourRelay, Direct: hourFloor, Networks: h.networks, Spread: 6 * time.Second, Pace: time.Hour, Honest: true, Quiet: true},
		h.wire, history.New(h.pools...))
	go func() { h.sim.Run(living); close(done) }()
	h.sim.Relay(ctx, netip.MustParseAddr(h.old.Address))
	// Firmware and iPXE come before the system, whose lease is what is looked at.
	await(t, "all simulated machines have addresses of dnsmasq", hourAsk, func(ctx context.Context) bool { return len(h.sim.Leases(ctx)) == hourRelay+hourFloor })
	for i, s := range []stranger{strangers[0], strangers[1], strangers[2], strangers[0], strangers[0]} { // the last two have reservations
		h.moveIn(s, fmt.Sprintf("g%d", i+1))
	}
	for _, g := range h.guests {
		h.settles(g)
	}
	if got, want := h.guests[3].address+" "+h.guests[4].address, h.reservations(); got != want {
		t.Fatalf("dnsmasq gives reservations %s, want %s", got, want)
	}
	before := h.sim.Leases(ctx)

	conf, leases := filepath.Join(h.dir, "dnsmasq.conf"), filepath.Join(h.dir, "dnsmasq.leases")
	subnets := filepath.Join(h.dir, "subnets.yml")
	imported := h.run("subnet", "import", conf)
	if err := os.WriteFile(subnets, []byte(imported), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("kiln subnet import:\n%s", imported)
	t.Logf("kiln diff:\n%s", h.run("diff", "-f", subnets))
	h.run("apply", "-f", subnets)
	rehearsed := h.run("leases", "import", "--dry-run", leases)
	t.Logf("the rehearsal: %s", last(rehearsed))
	var edges []*lab.Node
	for range 2 {
		e, err := h.farm.AddEdge()
		if err == nil {
			err = h.ready(e)
			e.Args = append(e.Args, "--cache", filepath.Join(h.farm.Dir, "cache"))
		}
		if err != nil {
			t.Fatal(err)
		}
		edges = append(edges, e)
	}
	h.sim.Relay(ctx, netip.MustParseAddr(h.old.Address), netip.MustParseAddr(edges[0].Host()), netip.MustParseAddr(edges[1].Host()))

	// In the middle of the time in which machines renew: they ask after half of their lease, from a minute on.
	await(t, "the first machines renew", oldLease, func(ctx context.Context) bool {
		return h.renewed(ctx, before, func(l dhcpsim.Lease) bool { return true }) > len(before)/4
	})
	begun := time.Now()
	h.end(h.server, syscall.SIGTERM)
	report := h.run("leases", "import", leases)
	t.Logf("the import: %s", last(report))
	for _, e := range edges {
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range edges {
		if err := e.AwaitSaid(ctx, "machines boot here"); err != nil {
			t.Fatal(err)
		}
	}
	without := time.Since(begun)
	renewed := h.renewed(ctx, before, func(dhcpsim.Lease) bool { return true })
	t.Logf("%.1f s without a server; %d of %d machines had renewed before", without.Seconds(), renewed, len(before))
	if renewed == len(before) {
		t.Error("all machines had renewed before the change: none asked in the middle of it")
	}

	ours := func(l dhcpsim.Lease) bool {
		return slices.ContainsFunc(edges, func(e *lab.Node) bool { return e.Host() == l.Server.String() })
	}
	await(t, "all simulated machines have renewed at an edge", renewsIn, func(ctx context.Context) bool { return h.renewed(ctx, before, ours) == len(before) })
	h.keep(before)
	await(t, "and so have the others", renewsIn, func(ctx context.Context) bool { return h.boundBy(ctx, "e1", "e2") })

	restarted := h.sim.Now()
	h.sim.Restart(ctx)
	for _, g := range h.guests {
		h.end(g.client, syscall.SIGKILL)
		h.start(g)
	}
	await(t, "all have started again", hourAsk, func(ctx context.Context) bool {
		return h.renewed(ctx, before, func(l dhcpsim.Lease) bool { return l.Asked >= restarted }) == len(before)
	})
	h.keep(before)
	taken := map[string]bool{}
	for _, l := range before {
		taken[l.Address.String()] = true
	}
	for _, g := range h.guests {
		taken[g.address] = true
	}
	for i := range newcomers {
		g := h.moveIn(strangers[0], fmt.Sprintf("n%d", i+1))
		if h.settles(g); taken[g.address] {
			t.Errorf("a new machine got %s, which is another's", g.address)
		}
		taken[g.address] = true
	}

	killed := h.sim.Now()
	if err := edges[0].Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, "all have renewed at the edge that is left", renewsIn, func(ctx context.Context) bool {
		return h.renewed(ctx, before, func(l dhcpsim.Lease) bool { return l.Asked >= killed && l.Server.String() == edges[1].Host() }) == len(before)
	})
	h.keep(before)
	await(t, "and so have the others", renewsIn, func(ctx context.Context) bool { return h.boundBy(ctx, "e2") })
	stop()
	<-done
	for _, v := range h.sim.Model.Violations {
		// dnsmasq knows a machine by what each of its programs calls itself, and gives each an address.
		if v.Kind == history.Moved && v.Events[len(v.Events)-1].Server.String() == h.old.Address {
			continue
		}
		t.Error(v)
	}
	t.Logf("%v\n%+v", h.sim.Counts(), h.sim.Model.Stats)
}

// oldServer starts dnsmasq with ranges for both networks and for the machines on its own segment, and two reservations.
func (h *hour) oldServer() {
	h.t.Helper()
	var err error
	if h.old, err = h.network.Guest("old"); err != nil {
		h.t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The DHCP server of this room\nport=0\ninterface=eth0\nbind-interfaces\ndhcp-authoritative\ndomain=room.example\n")
	for i, n := range h.networks {
		if n.Relay.IsValid() {
			if err := h.old.IP("route", "add", n.Prefix.String(), "via", h.relay); err != nil {
				h.t.Fatal(err)
			}
			fmt.Fprintf(&b, "dhcp-range=set:%s,%s,%s,255.255.0.0,2m\ndhcp-option=tag:%s,option:router,%s\n", n.Name, h.pools[i].Pools[0][0], h.pools[i].Pools[0][1], n.Name, n.Relay)
			continue
		}
		fmt.Fprintf(&b, "dhcp-range=%s,%s,255.255.255.0,2m\n", h.pools[i].Pools[0][0], h.pools[i].Pools[0][1])
	}
	macs, at := [2]string{hourMAC(4), hourMAC(5)}, strings.Fields(h.reservations())
	fmt.Fprintf(&b, "dhcp-option=option:dns-server,%s\n", h.old.Address)
	fmt.Fprintf(&b, "dhcp-host=%s,printer,%s\ndhcp-host=%s,%s\n", macs[0], at[0], macs[1], at[1])
	fmt.Fprintf(&b, "dhcp-leasefile=%s/dnsmasq.leases\n", h.dir)
	conf := filepath.Join(h.dir, "dnsmasq.conf")
	if err := os.WriteFile(conf, []byte(b.String()), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.server = startIn(h.t, h.old, filepath.Join(h.dir, "dnsmasq.log"), "dnsmasq", "--no-daemon", "--user=root", "--pid-file=", "--conf-file="+conf, "--log-dhcp", "--log-facility=-")
	await(h.t, "dnsmasq runs", getsWithin, func(context.Context) bool {
		text, err := os.ReadFile(filepath.Join(h.dir, "dnsmasq.log"))
		return err == nil && strings.Contains(string(text), "DHCP, sockets bound")
	})
}

// reservations are the fixed addresses of two machines: one beside the pool, and one in the middle of it.
func (h *hour) reservations() string {
	prefix := h.network.Host[:strings.LastIndexByte(h.network.Host, '.')]
	return prefix + ".60 " + prefix + ".120"
}

func hourMAC(n int) string { return fmt.Sprintf("02:00:00:00:99:%02x", n) }

// moveIn starts a client in a network of its own.
func (h *hour) moveIn(s stranger, name string) *tenant {
	h.t.Helper()
	guest, err := h.network.Guest(name)
	if err != nil {
		h.t.Fatal(err)
	}
	g := &tenant{stranger: s, guest: guest, mac: hourMAC(len(h.guests) + 1), dir: h.t.TempDir()}
	for _, args := range [][]string{{"address", "flush", "dev", "eth0"}, {"link", "set", "eth0", "address", g.mac}} {
		if err := guest.IP(args...); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(g.dir, "script"), []byte(script), 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.guests = append(h.guests, g)
	h.start(g)
	return g
}

func (h *hour) start(g *tenant) {
	h.t.Helper()
	g.client = startIn(h.t, g.guest, filepath.Join(g.dir, fmt.Sprintf("log%d", time.Now().UnixNano())), g.stranger.start(g.dir)...)
}

// end ends a program and waits until it has.
func (h *hour) end(c *exec.Cmd, how syscall.Signal) {
	_ = syscall.Kill(-c.Process.Pid, how)
	_ = c.Wait() // how it ends is its own business
}

// settles waits until a client has an address.
func (h *hour) settles(g *tenant) {
	h.t.Helper()
	await(h.t, fmt.Sprintf("%s of %s has an address", g.name, g.mac), getsWithin, func(context.Context) bool {
		g.address = h.addressOf(g)
		return g.address != ""
	})
}

func (h *hour) addressOf(g *tenant) string {
	for _, field := range strings.Fields(said(h.t, g.guest, "ip", "-4", "-o", "address", "show", "eth0")) {
		if p, err := netip.ParsePrefix(field); err == nil {
			return p.Addr().String()
		}
	}
	return ""
}

func (h *hour) run(args ...string) string {
	h.t.Helper()
	return h.command(h.t, args...)
}

// renewed is how many machines have asked for their address since and have it as they should.
func (h *hour) renewed(ctx context.Context, before map[int]dhcpsim.Lease, so func(dhcpsim.Lease) bool) (n int) {
	for id, l := range h.sim.Leases(ctx) {
		if l.Asked > before[id].Asked && so(l) {
			n++
		}
	}
	return n
}

// keep checks that all machines have the addresses that they had.
func (h *hour) keep(before map[int]dhcpsim.Lease) {
	h.t.Helper()
	now := h.sim.Leases(h.t.Context())
	for id, l := range before {
		if now[id].Address != l.Address {
			h.t.Errorf("machine %d had %s and has %s", id, l.Address, now[id].Address)
		}
	}
	for _, g := range h.guests {
		if a := h.addressOf(g); a != g.address {
			h.t.Errorf("%s of %s had %s and has %q", g.name, g.mac, g.address, a)
		}
	}
}

// boundBy says whether every client that nobody here wrote, and has no reservation, was bound last by one of some edges.
func (h *hour) boundBy(ctx context.Context, edges ...string) bool {
	text := h.run("leases")
	for i, g := range h.guests {
		if i == 3 || i == 4 { // fixed addresses are not bound
			continue
		}
		ok := false
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			ok = ok || len(f) >= 8 && f[0] == g.address && f[1] == g.mac && slices.Contains(edges, f[6])
		}
		if !ok {
			return false
		}
	}
	return true
}

// last is the last line of a text.
func last(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
