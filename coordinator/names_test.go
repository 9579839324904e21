package coordinator

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/coordinator/ddns"
	"github.com/kiln-farm/kiln/coordinator/names"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/dnsname"
	"github.com/kiln-farm/kiln/internal/dnstest"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const dnsSecret = "c2l4dGVlbiBieXRlcyBhcmUgdG9vIGZldyBmb3IgaXQ="

// zoned is a farm whose names a server publishes, and people who add names by hand.
type zoned struct {
	*farm
	r      *rand.Rand
	server *dnstest.Server
	keys   *nsupdate.Keys
	faulty atomic.Bool
	mute   atomic.Bool // every message is obeyed, and no answer comes
	byHand []string
	zone   string
}

func newZoned(t *testing.T, seed uint64) *zoned {
	z := &zoned{farm: newFarm(t, t.TempDir()), r: rand.New(rand.NewPCG(seed, 3)), zone: "lab.example"}
	var mu sync.Mutex // guards faults
	faults := rand.New(rand.NewPCG(seed, 4))
	z.server = dnstest.New(t, dnsSecret, func() dnstest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if z.mute.Load() {
			return dnstest.Mute
		}
		n := faults.IntN(20)
		if !z.faulty.Load() || n > 2 {
			return dnstest.None
		}
		return []dnstest.Fault{dnstest.Lost, dnstest.Mute, dnstest.Broken}[n]
	}, "lab.example", "other.example", "0.0.10.in-addr.arpa")
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, fmt.Appendf(nil, "key %s { algorithm hmac-sha256; secret %q; };", dnstest.Key, dnsSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if z.keys, err = nsupdate.OpenKeys(path); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"c3.lab.example A 10.9.9.9", "14.0.0.10.in-addr.arpa PTR byhand.example"} {
		name, rest, _ := strings.Cut(line, " ")
		kind, data, _ := strings.Cut(rest, " ")
		if kind == "PTR" {
			data += "."
		}
		if err := z.server.Put(name + ". 60 IN " + kind + " " + data); err != nil {
			t.Fatal(err)
		}
		z.byHand = append(z.byHand, line)
	}
	z.restart()
	return z
}

// restart has another leader take over, in the middle of whatever was going on.
func (z *zoned) restart() {
	z.t.Helper()
	z.close()
	short := [2]time.Duration{5 * time.Millisecond, 50 * time.Millisecond}
	z.startWith(func(c *Config) {
		c.DNSKeys, c.dns = z.keys, names.Times{Away: short, Refused: short, Taken: short, Settle: 200 * time.Millisecond, Sweep: 5 * time.Second}
	})
}

// change changes the room.
func (z *zoned) change(c *kilnv1.RoomCommand) {
	z.t.Helper()
	z.wait("the room's change is taken", func() bool {
		l, _ := z.coord.current()
		l.View(func(m *state.Machine) { c.Base = m.RoomRevision() })
		_, err := z.room().Change(z.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: c}))
		return err == nil
	})
}

func (z *zoned) subnet() *kilnv1.Subnet {
	return &kilnv1.Subnet{Name: "rack", Prefix: "10.0.0.0/24", Pools: []*kilnv1.AddressRange{{From: "10.0.0.10", To: "10.0.0.19"}},
		DnsUpdate: &kilnv1.DNSUpdate{Server: z.server.Address, Zone: z.zone, Clients: true, Key: dnstest.Key, TtlSeconds: 60}}
}

func (z *zoned) step() {
	who := z.r.IntN(8)
	c := bindOf(fmt.Sprintf("02:00:00:00:00:%02x", who), fmt.Sprintf("10.0.0.%d", 10+z.r.IntN(10)), z.r.Int64N(2500))
	c.Name = fmt.Sprint("c", z.r.IntN(6))
	switch z.r.IntN(40) {
	case 0:
		z.restart()
	case 1:
		z.zone = []string{"lab.example", "other.example"}[z.r.IntN(2)]
		z.change(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{z.subnet()}})
	case 2, 3:
		m := &kilnv1.Machine{Name: fmt.Sprint("m", z.r.IntN(2)), Macs: []string{c.Mac}, Hostname: fmt.Sprint("c", z.r.IntN(6)), Address: fmt.Sprintf("10.0.0.%d/24", 30+z.r.IntN(3))}
		z.change(&kilnv1.RoomCommand{Machines: []*kilnv1.Machine{m}})
	case 4:
		z.change(&kilnv1.RoomCommand{RemoveMachines: []string{fmt.Sprint("m", z.r.IntN(2))}})
	case 5:
		z.change(&kilnv1.RoomCommand{RemoveSubnets: []string{"rack"}})
		z.change(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{z.subnet()}})
	case 6, 7, 8, 9, 10, 11:
		c.Operation = kilnv1.BindCommand_OPERATION_RELEASE
		z.bind(c)
	default:
		z.bind(c)
	}
	if z.r.IntN(3) == 0 {
		time.Sleep(time.Duration(z.r.IntN(30)) * time.Millisecond)
	}
}

// wanted are the lines that the zones should hold now.
func (z *zoned) wanted() (out []string) {
	l, _ := z.coord.current()
	var want ddns.Wants
	l.View(func(m *state.Machine) { want = ddns.Wanted(m.Intent(), m.AllBindings(), l.Steady()) })
	taken, marked := map[string]bool{}, map[string]bool{}
	for _, line := range z.byHand {
		name, _, _ := strings.Cut(line, " ")
		taken[name] = true
	}
	for key := range want.Records {
		owner, line := key.Name, key.Name+" A "+key.Address
		if key.Reverse {
			owner = dnsname.Reverse(netip.MustParseAddr(key.Address))
			line = owner + " PTR " + key.Name
		}
		if !taken[owner] {
			out, marked[owner] = append(out, line), true
		}
	}
	for owner := range marked {
		out = append(out, owner+" DHCID")
	}
	out = append(out, z.byHand...)
	slices.Sort(out)
	return out
}

func TestDNSEndsAsWantedWhateverHappened(t *testing.T) {
	seeds, steps := uint64(2), 150
	if os.Getenv("KILN_E2E") == "full" {
		seeds, steps = 20, 400
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			z := newZoned(t, seed)
			z.raised()
			z.change(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{z.subnet()}})
			z.faulty.Store(true)
			for range steps {
				z.step()
			}
			z.faulty.Store(false)
			var got, want []string
			same := func() bool {
				got, want = z.server.Lines(), z.wanted()
				return slices.Equal(got, want)
			}
			deadline := time.Now().Add(30 * time.Second)
			for !same() {
				if time.Now().After(deadline) {
					t.Fatalf("the zones hold\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				time.Sleep(20 * time.Millisecond)
			}
			if n := z.server.Updates(); n < steps/4 {
				t.Errorf("only %d updates came", n)
			}
			// The account of what is there comes to the same.
			z.wait("the farm knows what is in DNS", func() bool {
				l, _ := z.coord.current()
				sure := 0
				l.View(func(m *state.Machine) {
					for _, r := range m.Published() {
						if r.GetSure() {
							sure++
						}
					}
				})
				lines := 0
				for _, line := range z.server.Lines() {
					if !strings.HasSuffix(line, " DHCID") && !slices.Contains(z.byHand, line) {
						lines++
					}
				}
				return sure == lines
			})
		})
	}
}

// What a leader sent before it died, and never heard of, goes when it is not wanted any more.
func TestWhatADeadLeaderSentIsNotLeftBehind(t *testing.T) {
	z := newZoned(t, 1)
	z.raised()
	z.change(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{z.subnet()}})
	z.mute.Store(true)
	c := bindOf("02:00:00:00:00:01", "10.0.0.10", time.Hour.Milliseconds())
	c.Name = "c1"
	z.bind(c)
	z.wait("the server has the name", func() bool { return slices.Contains(z.server.Lines(), "c1.lab.example A 10.0.0.10") })
	lost := len(z.server.Lines())
	z.mute.Store(true) // so that the new leader is not sure either
	z.restart()
	c.Operation = kilnv1.BindCommand_OPERATION_RELEASE
	z.bind(c)
	z.wait("the new leader wants the name no more", func() bool {
		l, _ := z.coord.current()
		name, _, _ := l.names.Name("rack", c.Address)
		return name == "" && l.names.Looked()
	})
	z.mute.Store(false)
	z.wait("nothing but what was made by hand is left", func() bool { return len(z.server.Lines()) == len(z.byHand) })
	if lost <= len(z.byHand) {
		t.Errorf("the dead leader had published nothing: %d lines", lost)
	}
}

// A server that is given an old copy of a zone says nothing of it.
func TestNamesThatAnOldCopyOfAZoneLacksComeBack(t *testing.T) {
	z := newZoned(t, 1)
	z.raised()
	z.change(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{z.subnet()}})
	restore := z.server.Copy()
	for i := range 5 {
		c := bindOf(fmt.Sprintf("02:00:00:00:00:%02x", i), fmt.Sprintf("10.0.0.1%d", i), time.Hour.Milliseconds())
		c.Name = fmt.Sprint("n", i)
		z.bind(c)
	}
	whole := func() bool { return slices.Equal(z.server.Lines(), z.wanted()) }
	z.wait("all names are there", whole)
	z.wait("the farm is sure of them", func() bool {
		_, state, _ := z.names("10.0.0.10")
		return state == kilnv1.NameState_NAME_STATE_PUBLISHED
	})
	restore()
	if whole() {
		t.Fatal("the old copy has all names")
	}
	if err := z.server.Put("n4.lab.example. 60 IN A 10.9.9.4"); err != nil { // and somebody has made one of them by hand
		t.Fatal(err)
	}
	z.byHand = append(z.byHand, "n4.lab.example A 10.9.9.4")
	z.wait("all others are there again", whole)
	z.wait("that one is said to be taken", func() bool {
		_, state, _ := z.names("10.0.0.14")
		return state == kilnv1.NameState_NAME_STATE_TAKEN
	})
}

func (z *zoned) names(address string) (string, kilnv1.NameState, string) {
	l, _ := z.coord.current()
	return l.names.Name("rack", address)
}
