package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/links"
)

// What a Server goes by when its fields are zero.
const (
	DefaultWorkers = 128  // decisions at once
	DefaultQueue   = 1024 // packets that wait for one, and answers that wait for their time
)

const (
	longestPacket = 2048            // bytes: clients send less than a frame
	patience      = 4 * time.Second // of a client that waits for an answer; after that it has asked again
)

// Counters count since the Server was made.
type Counters struct {
	Received uint64
	Refused  uint64 // that Classify did not take
	Dropped  uint64 // because there was no room, or because they had waited too long
	Silent   uint64 // that were not to be answered
	Answered uint64
	Failed   uint64 // whose answer could not be made or sent
}

// Server answers on some interfaces. Its fields must not change once Serve is called.
type Server struct {
	Interfaces []string
	// Decide says what a client is to be told. It may take its time, but a client waits for a few seconds only: ctx ends
	// then. It is called for every message, also for RELEASE and DECLINE, and by many goroutines at once. When the plan has a
	// Delay it is called again after that, unless the client has chosen another server meanwhile.
	Decide func(ctx context.Context, c Client) Plan
	// Done is told what became of each client's packet, if it is not nil: err is nil when an answer was sent, and ErrSilent
	// when there was none to send.
	Done func(c Client, plan Plan, err error)
	Log  *slog.Logger

	Workers int // decisions at once
	Queue   int // packets that wait for one, and answers that wait for their time

	received, refused, dropped, silent, answered, failed atomic.Uint64
	waiting                                              waiting
	longest                                              atomic.Int64 // wait of a packet for its turn, in ns, since complain looked
}

// link is an interface and the sockets on it.
type link interface {
	links.Link
	ports() []port
	addresses() []netip.Prefix // of IPv4, the main one first
}

// port is a socket. It may be closed while it receives.
type port interface {
	receive(b []byte) (n int, in Ingress, err error)
	send(packet []byte, to Destination, from netip.Addr) error
}

// job is a packet that somebody is to answer.
type job struct {
	packet []byte
	in     Ingress
	came   time.Time
	port   port
	link   link
}

// Counters are the counts of now.
func (s *Server) Counters() Counters {
	return Counters{Received: s.received.Load(), Refused: s.refused.Load(), Dropped: s.dropped.Load(), Silent: s.silent.Load(),
		Answered: s.answered.Load(), Failed: s.failed.Load()}
}

// Serve answers until ctx ends. It needs the right to use ports below 1024 (CAP_NET_BIND_SERVICE), and CAP_NET_RAW to
// answer clients without an address in another way than by broadcast.
func (s *Server) Serve(ctx context.Context) error { return s.serve(ctx, openLink) }

func (s *Server) serve(ctx context.Context, open func(name string) (link, error)) error {
	if s.Decide == nil || len(s.Interfaces) == 0 {
		return errors.New("serve DHCP: Server.Decide or Server.Interfaces is not set; name the interfaces that machines boot on")
	}
	queue := either(s.Queue, DefaultQueue)
	jobs := make(chan job, queue)
	run, err := links.Keeper[link]{Protocol: "DHCP", Interfaces: s.Interfaces, Open: open, Longest: longestPacket, Log: s.log(),
		Readers: func(l link) []func([]byte) error { return s.readers(l, jobs) }}.Start()
	if err != nil {
		return err
	}
	later := make(chan struct{}, queue) // one for each answer that waits for its time
	var workers sync.WaitGroup
	for range either(s.Workers, DefaultWorkers) {
		workers.Go(func() {
			for j := range jobs {
				s.work(ctx, &workers, later, j)
			}
		})
	}
	workers.Go(func() { s.complain(ctx) })
	run(ctx)
	close(jobs)
	workers.Wait()
	return nil
}

// readers have what comes to the ports of a link answered.
func (s *Server) readers(l link, jobs chan<- job) (all []func([]byte) error) {
	for _, p := range l.ports() {
		all = append(all, func(buffer []byte) error {
			n, in, err := p.receive(buffer)
			if err == nil {
				s.enqueue(jobs, job{append([]byte{}, buffer[:n]...), in, time.Now(), p, l})
			}
			return err
		})
	}
	return all
}

// enqueue never waits: what there is no room for is dropped, and its client asks again.
func (s *Server) enqueue(jobs chan<- job, j job) {
	s.received.Add(1)
	if len(jobs) >= cap(jobs)-cap(jobs)/4 && begins(j.packet) {
		s.drop(queueFull)
		return
	}
	select {
	case jobs <- j:
	default:
		s.drop(queueFull)
	}
}

// work answers one packet, or has it answered later.
func (s *Server) work(ctx context.Context, running *sync.WaitGroup, later chan struct{}, j job) {
	s.took(time.Since(j.came))
	if ctx.Err() != nil || time.Since(j.came) > patience {
		s.drop(tooLate)
		return
	}
	c, err := Classify(j.packet, j.in)
	if err != nil {
		s.refused.Add(1)
		s.log().Debug("a DHCP packet was not understood", "interface", j.in.Interface, "error", err)
		return
	}
	c.Own = j.link.addresses()
	if some, us := c.Chose(); some && !us {
		s.waiting.chosen(c.exchange())
	}
	plan := s.decide(ctx, j, c)
	if plan.Delay <= 0 {
		s.finish(j, c, plan)
		return
	}
	select {
	case later <- struct{}{}:
	default:
		s.drop(laterFull)
		return
	}
	until, end, ok := s.waiting.add(ctx, c.exchange())
	if !ok {
		<-later
		s.finish(j, c, Plan{})
		return
	}
	running.Go(func() {
		defer func() { <-later }()
		links.Pause(until, plan.Delay)
		chosen := until.Err() != nil // another one
		end()                        // before it is answered, and asks the next thing
		switch {
		case ctx.Err() != nil:
		case chosen:
			s.finish(j, c, Plan{})
		default:
			c.Late = true
			s.finish(j, c, s.decide(ctx, j, c))
		}
	})
}

func (s *Server) decide(ctx context.Context, j job, c Client) Plan {
	until := withLazyDeadline(ctx, j.came.Add(patience))
	defer until.end()
	return s.Decide(until, c)
}

// finish sends what the plan says.
func (s *Server) finish(j job, c Client, plan Plan) {
	self := choose(j.in.To, plan.Lease.Address, c.Own)
	if _, us := c.Chose(); us && !c.Relay.ServerID.IsValid() {
		self = c.ServerID
	}
	p, to, err := Reply(c, plan, self)
	if err == nil {
		if err = j.port.send(p.ToBytes(), to, self); err != nil {
			err = fmt.Errorf("send the %s for %s to %s: %w", p.MessageType(), c.MAC, to.Addr, err)
		}
	}
	say := func(level slog.Level, what string, more func() []any) {
		if s.log().Enabled(context.Background(), level) { // thousands a second, which nobody reads at most sites
			s.log().Log(context.Background(), level, what, append([]any{"mac", c.MAC.String(), "kind", c.Kind.String(), "message", c.Message.String(),
				"interface", j.in.Interface, "port", j.in.Port, "waited", c.Waited()}, more()...)...)
		}
	}
	switch {
	case errors.Is(err, ErrSilent):
		s.silent.Add(1)
		say(slog.LevelDebug, "not answered by DHCP", func() []any { return []any{"why", err} })
	case err != nil:
		s.failed.Add(1)
		say(slog.LevelWarn, "no DHCP answer", func() []any { return []any{"error", err} })
	default:
		s.answered.Add(1)
		say(slog.LevelInfo, "answered by DHCP", func() []any {
			return []any{"answer", p.MessageType().String(), "to", to.Addr, "address", address(p), "file", plan.Boot.File}
		})
	}
	if s.Done != nil {
		s.Done(c, plan, err)
	}
}

func address(p *dhcpv4.DHCPv4) string {
	if p.YourIPAddr.IsUnspecified() {
		return ""
	}
	return p.YourIPAddr.String()
}

// choose picks the address to answer from: the one that was asked, or one in the network of the lease, or the main one.
func choose(asked netip.Addr, lease netip.Prefix, own []netip.Prefix) netip.Addr {
	var main netip.Addr
	for _, p := range own {
		if p.Addr() == asked {
			return asked
		}
		if !main.IsValid() || lease.IsValid() && lease.Contains(p.Addr()) && !lease.Contains(main) {
			main = p.Addr()
		}
	}
	return main
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func either(set, otherwise int) int {
	if set > 0 {
		return set
	}
	return otherwise
}
