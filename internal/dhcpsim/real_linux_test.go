package dhcpsim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim"
	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

// yard is a network with a server of DHCP that somebody else wrote, and simulated machines.
type yard struct {
	server   *lab.Guest
	wire     *dhcpsim.Wire
	networks []dhcpsim.Network
	pools    []history.Network
}

// newYard makes one with so many addresses in each of its networks.
func newYard(t *testing.T, addresses int) *yard {
	t.Helper()
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	network, err := lab.NewNetwork()
	must(err)
	t.Cleanup(func() { must(network.Close()) })
	y := &yard{}
	y.server, err = network.Guest("server")
	must(err)
	relay, err := network.Guest("relay")
	must(err)
	floor, err := network.Guest("floor")
	must(err)
	segment := netip.MustParsePrefix(y.server.Address + "/24").Masked()
	for i, name := range []string{"hall", "attic"} {
		prefix := netip.MustParsePrefix(fmt.Sprintf("10.2%d.0.0/16", i))
		y.networks = append(y.networks, dhcpsim.Network{Name: name, Prefix: prefix, Relay: prefix.Addr().Next(), Circuit: "port " + name})
		y.pools = append(y.pools, pool(name, prefix, 256, 255+addresses))
		must(y.server.IP("route", "add", prefix.String(), "via", relay.Address))
	}
	y.networks = append(y.networks, dhcpsim.Network{Name: "floor", Prefix: segment})
	y.pools = append(y.pools, pool("floor", segment, 100, 199))
	y.wire, err = dhcpsim.Open(relay, floor, []netip.Addr{netip.MustParseAddr(y.server.Address)}, y.networks...)
	must(err)
	t.Cleanup(y.wire.Close)
	return y
}

// pool is some addresses of a prefix.
func pool(name string, p netip.Prefix, from, to int) history.Network {
	at := func(n int) netip.Addr {
		b := p.Addr().As4()
		b[2], b[3] = b[2]+byte(n>>8), byte(n)
		return netip.AddrFrom4(b)
	}
	return history.Network{Name: name, Pools: [][2]netip.Addr{{at(from), at(to)}}}
}

// start runs a program in the server's network until the test ends.
func (y *yard) start(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("SKIPPED: %v; make test installs it", err)
	}
	args = y.server.Command(args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ends is its own business
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s: %s", args[3], text[max(0, len(text)-2000):])
		}
	})
}

// dnsmasq cannot lend an address for less than two minutes.
func (y *yard) dnsmasq(t *testing.T) {
	args := []string{"dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", "--interface=eth0", "--bind-interfaces", "--dhcp-authoritative", "--dhcp-ignore-clid",
		"--no-ping", "--dhcp-lease-max=10000", "--log-facility=/dev/null", "--dhcp-leasefile=" + filepath.Join(t.TempDir(), "leases")}
	for i, n := range y.networks {
		bits := "255.255.0.0"
		if !n.Relay.IsValid() {
			bits = "255.255.255.0"
		}
		args = append(args, fmt.Sprintf("--dhcp-range=%s,%s,%s,120", y.pools[i].Pools[0][0], y.pools[i].Pools[0][1], bits))
	}
	y.start(t, args...)
}

func (y *yard) kea(t *testing.T) {
	dir := t.TempDir()
	type object = map[string]any
	var subnets []object
	for i, n := range y.networks {
		s := object{"id": i + 1, "subnet": n.Prefix.String(), "pools": []object{{"pool": fmt.Sprintf("%s - %s", y.pools[i].Pools[0][0], y.pools[i].Pools[0][1])}}}
		if n.Relay.IsValid() {
			s["relay"] = object{"ip-addresses": []string{n.Relay.String()}}
		}
		subnets = append(subnets, s)
	}
	config, err := json.Marshal(object{"Dhcp4": object{
		"interfaces-config": object{"interfaces": []string{"eth0"}}, "match-client-id": false, "authoritative": true,
		"lease-database":            object{"type": "memfile", "persist": true, "name": filepath.Join(dir, "leases.csv"), "lfc-interval": 0},
		"expired-leases-processing": object{"hold-reclaimed-time": 0, "reclaim-timer-wait-time": 1},
		"valid-lifetime":            8, "subnet4": subnets, "decline-probation-period": 5,
		"loggers": []object{{"name": "kea-dhcp4", "severity": "WARN", "output_options": []object{{"output": "stdout"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kea.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KEA_PIDFILE_DIR", dir)
	t.Setenv("KEA_LOCKFILE_DIR", dir)
	y.start(t, "kea-dhcp4", "-c", path)
}

// TestServersThatOthersWroteSatisfyTheModel tries the simulation and the model on servers that are known to be right. That
// a client has one address in a network is not a promise of theirs: after one of two machines with a MAC has given it back,
// both may have one. dnsmasq forgets what a machine had in the network that it left, and refuses who has chosen a server that
// there is not: it gets honest machines only.
func TestServersThatOthersWroteSatisfyTheModel(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 15 s; not in -short")
	}
	for _, c := range []struct {
		name      string
		serve     func(*yard, *testing.T)
		addresses int
		hard      bool // leases run out, and machines move and lie
	}{{"Kea", (*yard).kea, 130, true}, {"dnsmasq", (*yard).dnsmasq, 2000, false}} {
		t.Run(c.name, func(t *testing.T) {
			y := newYard(t, c.addresses)
			c.serve(y, t)
			sim := dhcpsim.New(dhcpsim.Options{Seed: 1, Machines: 200, Direct: 10, Networks: y.networks, Spread: 2 * time.Second, Pace: 4 * time.Second,
				Loss: 0.03, Twice: 0.03, Honest: !c.hard}, y.wire, history.New(y.pools...))
			judge(t, sim, 8*time.Second)
			s := sim.Model.Stats
			t.Logf("%v\n%+v", sim.Counts(), s)
			for _, v := range sim.Model.Violations {
				if v.Kind == history.Moved {
					t.Log("not promised by this server: ", v)
					continue
				}
				t.Error(v)
			}
			for mode, least := range map[history.Mode]int{history.Selecting: 600, history.Rebooting: 20} {
				if s.ACKs[mode] < least {
					t.Errorf("%d ACKs to %s, want at least %d: the machines did little", s.ACKs[mode], mode, least)
				}
			}
			if s.Kept == 0 || c.hard && (s.ACKs[history.Renewing] == 0 || s.Passed+s.Again == 0) {
				t.Errorf("nothing was renewed, or ran out: %+v", s)
			}
		})
	}
}

// judge lets machines live for a while, then lets all come to rest.
func judge(t *testing.T, sim *dhcpsim.Sim, span time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { sim.Run(ctx); close(done) }()
	time.Sleep(span)
	sim.Calm(ctx)
	for end := time.Now().Add(30 * time.Second); sim.Homeless(ctx) > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	sim.Freeze(ctx)
	at := sim.Now()
	cancel()
	<-done
	sim.Model.Need(at, sim.Want())
}
