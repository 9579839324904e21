package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kiln-farm/kiln/internal/lab"
)

// pooledRoom is a room whose machines get addresses out of a pool.
const pooledRoom = `
subnets:
  - {name: room, prefix: 10.77.0.0/24, pools: [10.77.0.100-10.77.0.199], lease: 1h, boot_lease: 10m}
releases:
  - {name: demo, platforms: {linux/amd64: {kernel: ./machine-kernel, initrd: [./machine-initrd.img], cmdline: %q}}}
`

// whoBoots are the machines of that room: one that is described and has no fixed address, and one that nobody described.
var whoBoots = map[string]string{
	"described": `
machines:
  - {name: demo-machine, mac: "` + machineMAC + `", labels: {role: demo}}
groups:
  - {name: demo, selector: {role: demo}, release: demo, templates: {user-data: "hello from the edge"}}
`,
	"stranger": `
groups:
  - {name: others, unknown: true, release: demo, templates: {user-data: "hello from the edge"}}
`,
}

// pooled describes the room, and waits until both edges have fetched what machines boot.
func (p *pair) pooled(t *testing.T, dir, who string, revision int) {
	t.Helper()
	cmdline, err := os.ReadFile(filepath.Join(dir, "machine-cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "room.yml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(pooledRoom, strings.TrimSpace(string(cmdline)))+whoBoots[who]), 0o600); err != nil {
		t.Fatal(err)
	}
	p.with(t, "apply", "--prune", "-f", file)
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	for _, e := range []*lab.Node{p.first, p.second} {
		if err := e.AwaitSaid(ctx, fmt.Sprintf("revision=%d", revision)); err != nil {
			t.Fatal(err)
		}
		if err := e.AwaitSaid(ctx, "all files that machines are to boot are here"); err != nil {
			t.Fatal(err)
		}
	}
}

// acks are the addresses that a machine was acknowledged, in their order.
type acks struct {
	mu  sync.Mutex // guards all
	all []netip.Addr
}

func (a *acks) see(p lab.Packet) bool {
	const yiaddr = 16
	if p.ToMachine && !p.TCP && p.From.Port() == fromServer && message(p.Payload) == dhcpAck {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all = append(a.all, netip.AddrFrom4([4]byte(p.Payload[yiaddr:])))
	}
	return true
}

// programs is how many DHCP clients run in a boot, one after the other: firmware, where it is no iPXE, iPXE, and the system.
type pooledBoot struct {
	name     string
	programs int
	args     func(t *testing.T) []string
}

// Their names are in names of files that QEMU takes no comma in.
var pooledBoots = []pooledBoot{
	{"SeaBIOS with iPXE", 2, func(*testing.T) []string { return retryingBIOS() }},
	{"OVMF PXE", 3, func(t *testing.T) []string { return onCable(x86(ovmf(t, "none", "")...)) }},
	{"OVMF HTTP boot", 3, func(t *testing.T) []string { return onCable(x86(append(ovmf(t, "none", ""), httpOnly...)...)) }},
}

// boots has a machine boot up to its service, and returns the one address that all its programs got.
func (b pooledBoot) boots(t *testing.T, p *pair) netip.Addr {
	t.Helper()
	var got acks
	m := p.power(t, b.args(t), got.see)
	t.Logf("up after %.1f s", m.until("KILN-SERVICE-UP", deathLimit).Sub(m.begun).Seconds())
	m.off()
	if said := m.text(); !strings.Contains(said, "KILN-CONFIGURED") || !strings.Contains(said, "hello from the edge") {
		t.Error("it has no configuration of its own")
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.all) < b.programs {
		t.Fatalf("%d ACKs, want at least one for each of %d programs: %v", len(got.all), b.programs, got.all)
	}
	if slices.ContainsFunc(got.all, func(a netip.Addr) bool { return a != got.all[0] }) || !netip.MustParsePrefix("10.77.0.0/24").Contains(got.all[0]) {
		t.Fatalf("its programs got the addresses %v, want one of 10.77.0.0/24", got.all)
	}
	t.Logf("%d ACKs of %s", len(got.all), got.all[0])
	return got.all[0]
}

// booked checks that the farm's books have one address of the machine.
func (p *pair) booked(t *testing.T, want netip.Addr) {
	t.Helper()
	var leases []struct {
		Address, MAC, State string
		RemainingSeconds    int64
	}
	if err := json.Unmarshal([]byte(p.with(t, "leases", "--json")), &leases); err != nil {
		t.Fatal(err)
	}
	if len(leases) != 1 || leases[0].Address != want.String() || leases[0].MAC != machineMAC || leases[0].State != "bound" || leases[0].RemainingSeconds <= 0 {
		t.Errorf("got the leases %+v, want one of %s for %s", leases, want, machineMAC)
	}
}

// TestMachinesBootWithAddressesOutOfPools: every program of a boot gets the same address, and that is committed. Without the
// farm a machine that is described boots with the address that it has.
func TestMachinesBootWithAddressesOutOfPools(t *testing.T) {
	full(t)
	p := newPair(t, 0)
	needFirmware(t, "amd64")
	dir := p.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", "kernel+initrd")
	var had netip.Addr
	for i, who := range []string{"stranger", "described"} {
		p.pooled(t, dir, who, i+1)
		for _, b := range pooledBoots {
			t.Run(who+" "+b.name, func(t *testing.T) {
				a := b.boots(t, p)
				if had.IsValid() && a != had {
					t.Errorf("it had %s and got %s", had, a)
				}
				had = a
				p.booked(t, a)
			})
		}
	}
	alone := func(t *testing.T, b pooledBoot) {
		if a := b.boots(t, p); a != had {
			t.Errorf("it had %s and got %s", had, a)
		}
	}
	for _, c := range p.farm.Coordinators() {
		gone(t, c.Kill())
	}
	p.server.Close()
	for _, b := range pooledBoots {
		t.Run("the farm is dead "+b.name, func(t *testing.T) { alone(t, b) })
	}
	edges := []*lab.Node{p.first, p.second}
	for _, e := range edges { // in good order: what is known of bindings is on disk then
		gone(t, e.Terminate(t.Context()))
	}
	for _, e := range edges {
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
	}
	p.acquainted(t)
	t.Run("and the edges have been restarted", func(t *testing.T) { alone(t, pooledBoots[0]) })
	gone(t, p.first.Kill())
	t.Run("and one of them is dead too", func(t *testing.T) { alone(t, pooledBoots[1]) })
	if err := p.server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, c := range p.farm.Coordinators() {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	if err := p.farm.AwaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	p.booked(t, had)
}
