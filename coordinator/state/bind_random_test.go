package state

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// street is many clients and a few edges that bind, renew, give back and lie, and operators who change the room, beside a model
// of what clients may believe.
type street struct {
	*lab
	r        *rand.Rand
	log      *world
	believed map[string]map[netip.Addr]int64 // by client: until when it was promised an address of subnet a
	kept     map[netip.Addr]keeping          // addresses of subnet a that nobody else gets, even when they are given back
	six      bool                            // its subnets are of IPv6
}

type keeping struct {
	client, mac string // an edge that lies may say either for the other
	until       int64
}

// at is an address of subnet a.
func (s *street) at(n int) string {
	if s.six {
		return fmt.Sprintf("fd00::%d", n)
	}
	return fmt.Sprintf("10.0.0.%d", n)
}

// subnets are a, whose pool begins at 10, and b.
func (s *street) subnets() []*kilnv1.Subnet {
	a, b := labSubnet("a", "10.0.0"), labSubnet("b", "10.0.1")
	if s.six {
		for i, n := range []*kilnv1.Subnet{a, b} {
			text := func(t string) string {
				return strings.Replace(t, fmt.Sprintf("10.0.%d.", i), fmt.Sprintf("fd0%d::", i), 1)
			}
			n.Prefix = fmt.Sprintf("fd0%d::/64", i)
			ranges := slices.Concat(n.Pools, n.Exclude, n.Classes[0].Pools)
			for _, r := range ranges {
				r.From, r.To = text(r.From), text(r.To)
			}
		}
	}
	return []*kilnv1.Subnet{a, b}
}

func (s *street) command(c *kilnv1.Command) Result {
	s.t.Helper()
	return s.log.addressEntry(s.lab, s.r, c)
}

// addressEntry applies an entry and keeps it in the log. Clocks of leaders may be behind.
func (w *world) addressEntry(l *lab, r *rand.Rand, c *kilnv1.Command) Result {
	l.steady += r.Int64N(15)
	entry := &kilnv1.Entry{Level: LevelOf(c), UnixMs: l.steady - r.Int64N(5), SteadyMs: l.steady - r.Int64N(40), Commands: []*kilnv1.Command{c}}
	w.keep(entry)
	return l.m.Apply(entry).Results[0]
}

// keep puts an entry into the log.
func (w *world) keep(entry *kilnv1.Entry) {
	w.t.Helper()
	data, err := proto.Marshal(entry)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = append(w.log, data)
}

func (s *street) step() {
	client, address := fmt.Sprint("c", s.r.IntN(14)), s.at(9+s.r.IntN(12))
	if b, ok := pick(s.r, s.m.Bindings()); ok && s.r.IntN(2) == 0 { // what is known is more often asked for
		address = b.GetAddress()
	}
	c := &kilnv1.BindCommand{Operation: bindOp, Subnet: "a", Address: address, Client: "mac " + client, Mac: "mac-" + client, Edge: "e", ForMs: s.r.Int64N(300)}
	if s.r.IntN(2) == 0 {
		c.Name = fmt.Sprint("pc", s.r.IntN(5))
	}
	if s.r.IntN(20) == 0 {
		c.Mac = fmt.Sprint("mac-c", s.r.IntN(14)) // an edge that lies
	}
	at := netip.MustParseAddr(address)
	switch s.r.IntN(12) {
	case 0, 1:
		c.Operation = releaseOp
	case 2:
		c.Operation = declineOp
	case 3:
		s.lend()
		return
	case 4:
		if s.r.IntN(3) == 0 {
			s.operate()
		}
		s.publish()
		return
	case 5:
		if s.six {
			s.forget(c)
			return
		}
	}
	if s.r.IntN(30) == 0 {
		c.Subnet = "b"
	}
	mine := s.m.Binding("a", at).GetClient() == c.Client
	held := mine && Holds(s.m.Binding("a", at), s.m.Steady())
	r := s.command(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: c}})
	held = held && Holds(&kilnv1.Binding{UntilMs: s.believed[c.Client][at], State: kilnv1.BindingState_BINDING_STATE_BOUND}, s.m.Steady())
	switch {
	case r.Refused != "" || c.Subnet != "a":
	case c.Operation == bindOp:
		for other, promises := range s.believed {
			if other != c.Client && promises[at] > s.m.Steady() {
				s.t.Fatalf("%s is given to %s, and is that of %s until %d; it is %d", at, c.Client, other, promises[at], s.m.Steady())
			}
		}
		if k := s.kept[at]; k.mac != c.Mac && k.client != c.Client && k.until > s.m.Steady() {
			s.t.Fatalf("%s is given to %s, and is kept for %s until %d; it is %d", at, c.Mac, k.mac, k.until, s.m.Steady())
		}
		if s.m.addresses.described[c.Mac] {
			s.kept[at] = keeping{c.Client, c.Mac, r.Binding.GetUntilMs()}
		}
		if until := s.m.Steady() + c.ForMs; r.Binding.GetUntilMs() < max(until, s.believed[c.Client][at]) {
			s.t.Fatalf("the promise of %s to %s ends at %d, before %d or %d", at, c.Client, r.Binding.GetUntilMs(), until, s.believed[c.Client][at])
		}
		if s.believed[c.Client] == nil {
			s.believed[c.Client] = map[netip.Addr]int64{}
		}
		clear(s.believed[c.Client]) // who takes another address has given up the one before
		s.believed[c.Client][at] = r.Binding.GetUntilMs()
	case c.Operation == releaseOp && mine, held:
		delete(s.believed[c.Client], at)
	}
}

// forget forgets what is over, or what somebody thinks is.
func (s *street) forget(c *kilnv1.BindCommand) {
	if over := s.m.Over6(s.m.Steady()-s.r.Int64N(100), 1); len(over) > 0 && s.r.IntN(3) > 0 {
		c.Address, c.Client, c.UntilMs = over[0].GetAddress(), over[0].GetClient(), over[0].GetUntilMs()
	}
	c.Operation = forgetOp
	at := netip.MustParseAddr(c.Address)
	before := s.m.Binding("a", at)
	r := s.command(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: c}})
	if after := s.m.Binding("a", at); r.Refused != "" || after == nil && Holds(before, s.m.Steady()) {
		s.t.Fatalf("%v is forgotten at %d, and there is %v", before, s.m.Steady(), after)
	}
}

// lend grants a block, which holds nothing that somebody has or was lent.
func (s *street) lend() {
	edge, class := fmt.Sprint("e", s.r.IntN(3)), []string{"", "phones"}[s.r.IntN(2)]
	r := s.command(&kilnv1.Command{Command: &kilnv1.Command_Block{Block: &kilnv1.BlockCommand{Edge: edge, Subnet: "a", Class: class, Size: uint32(s.r.IntN(4)), ForMs: s.r.Int64N(200)}}})
	seen := map[string]bool{}
	for _, text := range r.Block.GetAddresses() {
		at := netip.MustParseAddr(text)
		if b := s.m.Binding("a", at); seen[text] || Holds(b, s.m.Steady()) || !given(s.m.Subnet("a"), at) || s.m.addresses.reservedFor(at, "") {
			s.t.Fatalf("%s is lent to %s, and there is %v", text, edge, b)
		}
		seen[text] = true
		for key, other := range s.m.addresses.blocks {
			for _, theirs := range other.GetAddresses() {
				if key != blockKey(edge, "a", class) && other.GetUntilMs() > s.m.Steady() && theirs == text {
					s.t.Fatalf("%s is lent to %s and %s", text, edge, other.GetEdge())
				}
			}
		}
	}
}

// publish notes that something is in DNS, or is no more.
func (s *street) publish() {
	r := &kilnv1.DNSRecord{Server: "s:53", Zone: "lab.example", Name: fmt.Sprint("pc", s.r.IntN(5)), Address: fmt.Sprintf("10.0.0.%d", s.r.IntN(20)), Sure: s.r.IntN(2) == 0}
	c := &kilnv1.PublishCommand{Put: []*kilnv1.DNSRecord{r}}
	if s.r.IntN(2) == 0 {
		c.Put, c.Remove = nil, c.Put
	}
	s.command(&kilnv1.Command{Command: &kilnv1.Command_Publish{Publish: c}})
}

// operate changes pools and fixed addresses. What would take an address from who has it is refused.
func (s *street) operate() {
	c := &kilnv1.RoomCommand{Base: s.m.RoomRevision()}
	switch s.r.IntN(3) {
	case 0:
		a := s.subnets()[0]
		a.Pools[0].To = s.at(10 + s.r.IntN(12))
		if s.r.IntN(4) > 0 {
			a.DnsUpdate = &kilnv1.DNSUpdate{Server: "s:53", Zone: "lab.example", Clients: true}
		}
		c.Subnets = []*kilnv1.Subnet{a}
	case 1:
		n := s.r.IntN(14)
		m := &kilnv1.Machine{Name: fmt.Sprint("m", s.r.IntN(2)), Macs: []string{fmt.Sprint("mac-c", n)}}
		if at := s.at(10 + s.r.IntN(10)); s.six {
			m.Address6 = at + "/64"
		} else {
			m.Address = at + "/24"
		}
		c.Machines = []*kilnv1.Machine{m}
	case 2:
		c.RemoveMachines = []string{fmt.Sprint("m", s.r.IntN(2))}
	}
	want := Refusal("")
	for _, m := range c.Machines {
		at := netip.MustParsePrefix(m.Address + m.Address6).Addr()
		if b := s.m.Binding("a", at); Holds(b, s.m.Steady()) && b.GetState() != kilnv1.BindingState_BINDING_STATE_DECLINED && b.GetMac() != m.Macs[0] {
			want = RefusedHeld
		}
	}
	if r := s.command(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: c}}); r.Refused != want && want == "" {
		s.t.Fatalf("a change of the room is refused: %s", r.Refused)
	}
}

// check says what must hold after every step.
func (s *street) check() {
	steady := s.m.Steady()
	for client, promises := range s.believed {
		for at, until := range promises {
			if b := s.m.Binding("a", at); until > steady && (b.GetClient() != client || b.GetUntilMs() < until || b.GetState() != kilnv1.BindingState_BINDING_STATE_BOUND) {
				s.t.Fatalf("%s was promised %s until %d, and at %d there is %v", client, at, until, steady, b)
			}
		}
	}
	at, named := map[string]string{}, map[string]string{}
	for _, b := range s.m.Bindings() {
		if b.GetName() != "" && b.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND && Holds(b, steady) {
			if other := named[b.GetName()]; other != "" && other != b.GetClient() {
				s.t.Fatalf("%s and %s have the name %s", other, b.GetClient(), b.GetName())
			}
			named[b.GetName()] = b.GetClient()
		}
		if key := b.GetSubnet() + b.GetClient(); b.GetClient() != "" {
			if at[key] != "" {
				s.t.Fatalf("%s has %s and %s", b.GetClient(), at[key], b.GetAddress())
			}
			at[key] = b.GetAddress()
		}
	}
	labels := 0
	for label, places := range s.m.addresses.named {
		for _, at := range places {
			if got := s.m.addresses.byAddress[at].GetName(); got != label {
				s.t.Fatalf("%v is listed under the name %s and has %q", at, label, got)
			}
			labels++
		}
	}
	for _, b := range s.m.Bindings() {
		if b.GetName() != "" {
			labels--
		}
	}
	if labels != 0 {
		s.t.Fatalf("%d labels more are listed than bindings have", labels)
	}
	count6 := 0
	for at := range s.m.addresses.byAddress {
		if at.subnet == "a" && s.six {
			count6++
		}
	}
	if count6 != s.m.addresses.count6["a"] {
		s.t.Fatalf("there are %d bindings of IPv6, and %d are counted", count6, s.m.addresses.count6["a"])
	}
	if len(at) != len(s.m.addresses.byClient) {
		s.t.Fatalf("%d clients have bindings, and %d are known", len(at), len(s.m.addresses.byClient))
	}
}

func TestNoAddressHasTwoClientsAndNoPromiseShrinks(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	for seed := range 2 * seeds {
		w := &world{t: t}
		s := &street{lab: &lab{t: t, m: New(), steady: 1000}, r: rand.New(rand.NewPCG(seed, 7)), log: w, believed: map[string]map[netip.Addr]int64{}, kept: map[netip.Addr]keeping{}, six: seed%2 == 1}
		w.m = s.m
		s.command(memberCommand("a", "h1:7300", newestLevel))
		s.command(levelCommand(newestLevel))
		s.command(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Subnets: s.subnets(),
			Machines: []*kilnv1.Machine{{Name: "k1", Macs: []string{"mac-c1", "mac-c2"}}, {Name: "k2", Macs: []string{"mac-c3"}}}}}})
		for range 1500 {
			s.step()
			s.check()
		}
		replay(t, seed, w) // from its log, and from snapshots on the way, it is the same
	}
}
