package pool

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/pool/commit"
	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/internal/dnsname"
	"github.com/kiln-farm/kiln/internal/seldom"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Farm commits what is bound to whom. Its errors say that nobody knows whether anything was.
type Farm interface {
	// Bind returns a result for each command. All of them are committed then.
	Bind(ctx context.Context, commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error)
	// Grant lends size more addresses of a class's pools. It returns all that are lent, and for how long.
	Grant(ctx context.Context, subnet, class string, size uint32) (addresses []netip.Addr, life time.Duration, err error)
}

// Prober finds out whether somebody uses an address.
type Prober interface {
	// Used asks on an interface, or by routers when the client came from a relay. It answers within some 200 ms.
	Used(ctx context.Context, address netip.Addr, nic string, relayed bool) bool
}

// Config of a Pool.
type Config struct {
	Edge string // name of this edge
	Farm Farm
	Log  *slog.Logger
	// Prober is asked before an address is offered that was not seen in use by its client; nil: nobody is.
	Prober Prober
	// Tell says what people should know, and which client it was about.
	Tell func(mac, what string)
	// Edges says how many edges there are in this room, this one among them; nil: it is alone.
	Edges func() int
	// File keeps what is known of bindings; empty: they are not kept.
	File string
	// Clock is never set and goes on while the host sleeps; nil: CLOCK_BOOTTIME.
	Clock func() time.Duration
}

// Pool gives addresses.
type Pool struct {
	cfg     Config
	now     func() time.Duration
	book    atomic.Pointer[subnets.Book]
	gate    *gate
	commits *commit.Committer
	probes  probes
	grants  sync.WaitGroup
	sayings *seldom.Sayings

	mu      sync.Mutex // guards what follows
	replica *replica.Replica
	coming  *replica.Replica // that is being filled, to be the next one; nil: none is
	stocks  map[stockKey]*stock
	pledges *pledges
	housed  housed

	held     *associations // has a lock of its own
	shelves  map[stockKey]*shelf
	binding6 map[replica.Place]int // addresses of IPv6 that are being bound
	dirty    bool                  // the replica is newer than the file
}

type stockKey struct{ subnet, class string }

// New makes a Pool that knows what was kept.
func New(cfg Config) *Pool {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = clock
	}
	if cfg.Tell == nil {
		cfg.Tell = func(string, string) {}
	}
	p := &Pool{cfg: cfg, now: cfg.Clock, gate: newGate(), commits: commit.New(cfg.Farm, cfg.Clock, cfg.Log), replica: replica.New(),
		stocks: map[stockKey]*stock{}, pledges: newPledges(), shelves: map[stockKey]*shelf{}, binding6: map[replica.Place]int{}, held: newAssociations()}
	asTime := func() time.Time { return time.Unix(0, 0).Add(p.now()) }
	p.probes, p.sayings = newProbes(asTime), seldom.New(seldom.Every, asTime)
	p.book.Store(subnets.New(nil))
	p.load()
	return p
}

// Set takes a newer intent.
func (p *Pool) Set(in *kilnv1.Intent) {
	next := subnets.New(in)
	p.book.Store(next)
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.shelves)
	for key, s := range p.stocks { // what was lent may be in no pool any more
		if n := next.ByName[key.subnet]; n == nil {
			delete(p.stocks, key)
		} else {
			for a := range s.lent {
				if !n.Ever(a) || next.Fixed[a] {
					s.drop(a)
				}
			}
		}
	}
}

// Serves says whether there are subnets with pools.
func (p *Pool) Serves() bool { return len(p.book.Load().ByName) > 0 }

// Run keeps what is known on disk, and heeds when the farm is back, until ctx ends.
func (p *Pool) Run(ctx context.Context) {
	var heeding sync.WaitGroup
	heeding.Go(func() { p.commits.Heed(ctx) })
	heeding.Go(func() { p.relieve(ctx) })
	p.keep(ctx)
	heeding.Wait()
	p.commits.Wait()
	p.grants.Wait()
}

// Begin says that the farm is about to tell all bindings.
func (p *Pool) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coming = replica.New()
}

// Take notes bindings that the farm told, as they are now. With complete, all that there were have been told since Begin.
func (p *Pool) Take(bindings []*kilnv1.BindingNow, complete bool) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	into := p.replica
	if p.coming != nil {
		into = p.coming
	}
	for _, b := range bindings {
		into.Take(b, now)
		if n := b.GetBinding(); n.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND && n.GetEdge() != p.cfg.Edge {
			p.held.elsewhere(replica.Tenant{Subnet: n.GetSubnet(), Client: n.GetClient()}, now+time.Duration(b.GetRemainingMs())*time.Millisecond)
		}
		if b.GetRemainingMs() <= 0 && b.GetBinding().GetState() == kilnv1.BindingState_BINDING_STATE_RELEASED {
			p.freed(b.GetBinding().GetSubnet())
		}
	}
	if complete && p.coming != nil {
		p.replica, p.coming = p.coming, nil
	}
	p.dirty = true
}

// note takes what a call of this edge's own has bound, before the farm tells it to all.
func (p *Pool) note(subnet string, address netip.Addr, r replica.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noteLocked(subnet, address, r)
}

func (p *Pool) noteLocked(subnet string, address netip.Addr, r replica.Record) {
	p.replica.Put(subnet, address, r)
	if !r.Holds(p.now()) {
		p.freed(subnet)
	}
	if p.coming != nil {
		p.coming.Put(subnet, address, r)
	}
	p.dirty = true
}

// Holder says which client has an address in a subnet with pools, as far as this edge knows: a machine that it is fixed for
// waits until the client has gone.
func (p *Pool) Holder(address netip.Addr) (client string, ok bool) {
	s := p.book.Load().Of(address)
	if s == nil {
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.replica.Get(s.Name, address)
	return r.Client, r.Holds(p.now())
}

// Fits says whether an address is of the network that a client is in, as far as that is known.
func (p *Pool) Fits(c dhcp.Client, address netip.Addr) bool {
	b := p.book.Load()
	where := b.Where(c)
	s := b.Of(address)
	return s == nil || len(where) == 0 || slices.Contains(where, s)
}

// Fill adds what the subnet of a fixed address says to what its machine says, and returns the options for a client: the subnet's,
// and what its name is in DNS.
func (p *Pool) Fill(c dhcp.Client, lease *dhcp.Lease) map[uint8][]byte {
	s := p.book.Load().Of(lease.Address.Addr())
	if s == nil {
		return nil
	}
	if !lease.Router.IsValid() {
		lease.Router = s.Lease.Router
	}
	if len(lease.DNS) == 0 {
		lease.DNS = s.Lease.DNS
	}
	if len(lease.NTP) == 0 {
		lease.NTP = s.Lease.NTP
	}
	if lease.Domain == "" {
		lease.Domain = s.Lease.Domain
	}
	options := maps.Clone(s.Options)
	if c.Message == dhcpv4.MessageTypeRequest {
		if option := s.AnswerName(c, dnsname.Host(lease.Host, s.Names.GetZone())); option != nil {
			options[optName] = option
		}
	}
	return options
}
