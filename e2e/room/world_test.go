package room

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/internal/dhcpsim"
	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	coordinators = 3
	wholeAgain   = 90 * time.Second // until a farm is whole after a fault
	floorFrom    = 100              // on the edges' segment, the last byte of addresses
	floorTo      = 250
	bookPatience = 20 * time.Second
)

// pool6 is what edges give addresses of over IPv6, on their own segment.
var pool6 = netip.MustParsePrefix("fd66::1:0:0:0/80")

// world is a farm with edges, and a relay agent in front of them.
type world struct {
	kiln     string // the program
	farm     *lab.Farm
	network  *lab.Network
	relay    string // address of the relay agent on the edges' segment
	agent    *lab.Guest
	wire     *dhcpsim.Wire
	networks []dhcpsim.Network
	pools    []history.Network
	random   *rand.Rand // of faults
}

// setting is how large a world is.
type setting struct {
	edges     int
	addresses int  // in each network behind the relay
	store     bool // a shared cache, so that machines have something to boot
	lease     time.Duration
	boot      time.Duration // lease of firmware
	six       int           // addresses of IPv6 in the first network behind the relay, the others have no end; 0: edges give none
	known     []string      // hardware addresses of machines that are described
	bare      bool          // nothing is described yet
}

// newWorld starts a farm whose edges give addresses; what it started ends with the test.
func newWorld(ctx context.Context, t *testing.T, dir string, seed uint64, s setting) *world {
	t.Helper()
	w := &world{random: rand.New(rand.NewPCG(seed, 1))}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.kiln, err = lab.Build(ctx, t.TempDir())
	must(err)
	w.network, err = lab.NewNetwork()
	must(err)
	t.Cleanup(func() { must(w.network.Close()) })
	nodes := filepath.Join(dir, "room")
	must(lab.Clear(nodes))
	o := lab.Options{Kiln: w.kiln, Dir: nodes, Name: "room", Coordinators: coordinators, Edges: s.edges, Network: w.network,
		Env: []string{"KILN_LOG=" + os.Getenv("KILN_LOG")}}
	if s.store {
		server, err := s3test.Start(t.TempDir(), w.network.Host+":0")
		must(err)
		t.Cleanup(server.Close)
		o.Store, o.Env = server.URL("room", ""), append(o.Env, server.Env()...)
	}
	w.farm, err = lab.New(ctx, o)
	must(err)
	t.Cleanup(func() { must(w.farm.Close()) })
	relay, err := w.network.Guest("relay")
	must(err)
	floor, err := w.network.Guest("floor")
	must(err)
	w.relay, w.agent = relay.Address, relay
	if s.six > 0 {
		must(relay.IP("address", "add", "fd66::fe/64", "dev", "eth0", "nodad"))
	}
	w.plan(s)
	var servers []netip.Addr
	for i, e := range w.farm.Edges() {
		servers = append(servers, netip.MustParseAddr(e.Host()))
		if s.six > 0 {
			own := fmt.Sprintf("fd66::%d", i+2)
			must(e.Address6(own + "/64"))
			e.Args = append(e.Args, "--dhcp6", "full")
			servers = append(servers, netip.MustParseAddr(own))
		}
		must(w.ready(e))
		if s.store {
			e.Args = append(e.Args, "--loaders", dir)
		} else {
			e.Args = append(e.Args, "--cache", filepath.Join(nodes, "cache"))
		}
	}
	w.wire, err = dhcpsim.Open(relay, floor, servers, w.networks...)
	must(err)
	t.Cleanup(w.wire.Close)
	must(w.farm.Start(ctx))
	if !s.bare {
		must(w.describe(ctx, s))
	}
	return w
}

// ready makes an edge ready to start.
func (w *world) ready(e *lab.Node) error {
	e.Args = append(e.Args, "--interface", "eth0", "--dhcp", "full", "--syslog=false")
	for _, n := range w.networks {
		if n.Relay.Is4() {
			if err := e.Route(n.Prefix.String(), w.relay); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan decides on networks and pools.
func (w *world) plan(s setting) {
	at := func(p netip.Prefix, n int) netip.Addr {
		b := p.Addr().As4()
		b[2], b[3] = b[2]+byte(n>>8), byte(n)
		return netip.AddrFrom4(b)
	}
	for i, name := range []string{"hall", "attic"} {
		prefix := netip.MustParsePrefix(fmt.Sprintf("10.2%d.0.0/16", i))
		w.networks = append(w.networks, dhcpsim.Network{Name: name, Prefix: prefix, Relay: prefix.Addr().Next(), Circuit: name})
		w.pools = append(w.pools, history.Network{Name: name, Pools: [][2]netip.Addr{{at(prefix, 256), at(prefix, 255+s.addresses)}}})
	}
	segment := netip.MustParsePrefix(w.network.Host + "/24").Masked()
	w.networks = append(w.networks, dhcpsim.Network{Name: "floor", Prefix: segment})
	w.pools = append(w.pools, history.Network{Name: "floor", Pools: [][2]netip.Addr{{at(segment, floorFrom), at(segment, floorTo)}}})
	if s.six > 0 {
		w.plan6(s.six)
	}
}

// plan6 decides on those of IPv6. One relay agent tells hardware addresses; behind the other one they are known otherwise.
func (w *world) plan6(addresses int) {
	add := func(n dhcpsim.Network, from, to netip.Addr) {
		w.networks = append(w.networks, n)
		w.pools = append(w.pools, history.Network{Name: n.Name, Pools: [][2]netip.Addr{{from, to}}})
	}
	hall, attic := netip.MustParsePrefix("fd67:0:0:1::/64"), netip.MustParsePrefix("fd67:0:0:2::/64")
	first := hall.Addr().As16()
	first[14] = 1
	last := first
	last[14], last[15] = byte(1+(addresses-1)>>8), byte(addresses-1)
	add(dhcpsim.Network{Name: "hall6", Prefix: hall, Relay: hall.Addr().Next(), Circuit: "hall", Hardware: true}, netip.AddrFrom16(first), netip.AddrFrom16(last))
	add(dhcpsim.Network{Name: "attic6", Prefix: attic, Relay: attic.Addr().Next()}, netip.MustParseAddr("fd67:0:0:2:1::"), netip.MustParseAddr("fd67:0:0:2:1:ffff:ffff:ffff"))
	add(dhcpsim.Network{Name: "six", Prefix: netip.MustParsePrefix("fd66::/64")}, pool6.Addr(), netip.MustParseAddr("fd66::1:ffff:ffff:ffff"))
}

// describe tells the farm of the subnets.
func (w *world) describe(ctx context.Context, s setting) error {
	change := &kilnv1.RoomCommand{}
	for i, n := range w.networks {
		subnet := &kilnv1.Subnet{Name: n.Name, Prefix: n.Prefix.String(), LeaseSeconds: uint32(s.lease.Seconds()), BootLeaseSeconds: uint32(s.boot.Seconds())}
		for _, p := range w.pools[i].Pools {
			subnet.Pools = append(subnet.Pools, &kilnv1.AddressRange{From: p[0].String(), To: p[1].String()})
		}
		if n.Relay.IsValid() {
			subnet.Gateway = n.Relay.String()
		}
		if n.Prefix.Addr().Is6() {
			subnet.Dns, subnet.Domain = []string{"fd66::53"}, "six.example"
		}
		change.Subnets = append(change.Subnets, subnet)
	}
	for i, mac := range s.known {
		change.Machines = append(change.Machines, &kilnv1.Machine{Name: fmt.Sprintf("m%d", i), Macs: []string{mac}})
	}
	room, err := w.farm.Room(w.farm.Coordinators()[0])
	if err != nil {
		return err
	}
	before, err := room.GetIntent(ctx, connect.NewRequest(&kilnv1.GetIntentRequest{}))
	if err != nil {
		return fmt.Errorf("read the intent: %w", err)
	}
	change.Base = before.Msg.GetIntent().GetRevision()
	answer, err := room.Change(ctx, connect.NewRequest(&kilnv1.ChangeRequest{Change: change}))
	if err != nil {
		return fmt.Errorf("describe the subnets: %w", err)
	}
	if problems := answer.Msg.GetProblems(); len(problems) > 0 {
		return fmt.Errorf("describe the subnets: %q", problems)
	}
	return nil
}

// books are all bindings that the farm knows of.
func (w *world) books(ctx context.Context) (books []history.Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, bookPatience)
	defer cancel()
	for ctx.Err() == nil {
		for _, c := range w.farm.Coordinators() {
			if books, err = w.booksOf(ctx, c); err == nil {
				return books, nil
			}
		}
		w.sleep(ctx, 200*time.Millisecond)
	}
	return nil, errors.Join(err, ctx.Err())
}

func (w *world) booksOf(ctx context.Context, c *lab.Node) (books []history.Entry, err error) {
	room, err := w.farm.Room(c)
	if err != nil {
		return nil, err
	}
	stream, err := room.WatchBindings(ctx, connect.NewRequest(&kilnv1.WatchBindingsRequest{Once: true}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	complete := false
	for stream.Receive() {
		for _, b := range stream.Msg().GetBindings() {
			address, err := netip.ParseAddr(b.GetBinding().GetAddress())
			if err != nil {
				return nil, err
			}
			books = append(books, history.Entry{Network: b.GetBinding().GetSubnet(), Address: address, MAC: b.GetBinding().GetMac(),
				Bound: b.GetBinding().GetState() == kilnv1.BindingState_BINDING_STATE_BOUND || b.GetBinding().GetState() == kilnv1.BindingState_BINDING_STATE_RELEASED && b.GetRemainingMs() > 0, Left: time.Duration(b.GetRemainingMs()) * time.Millisecond})
		}
		complete = complete || stream.Msg().GetComplete()
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if !complete {
		return nil, errors.New("the farm did not say that its books are complete")
	}
	return books, nil
}

// command runs kiln as the farm's administrator.
func (w *world) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.kiln, args...)
	cmd.Env = append(os.Environ(), "HOME="+w.farm.Dir, "KILN_FARM="+w.farm.URL(), "KILN_CREDENTIALS="+w.farm.Admin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kiln %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// await waits until the farm is whole.
func (w *world) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wholeAgain)
	defer cancel()
	return w.farm.Await(ctx)
}

func (w *world) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *world) hold(ctx context.Context, least, most time.Duration) {
	w.sleep(ctx, least+time.Duration(w.random.Int64N(int64(most-least)+1)))
}

func pick[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }

func without(nodes []*lab.Node, not *lab.Node) []*lab.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *lab.Node) bool { return n == not })
}
