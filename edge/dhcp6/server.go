package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/kiln-farm/kiln/edge/links"
)

// What a Server goes by when its fields are zero.
const (
	DefaultWorkers = 64   // decisions at once, and as many that give addresses
	DefaultQueue   = 1024 // packets of each of both that wait for one, and answers that wait for their time
)

const (
	longestPacket = 4096            // bytes: a client's packet within those of eight relays
	patience      = 8 * time.Second // of a client that waits for an answer: it asks again before, and gets the same answer
)

// Counters count since the Server was made.
type Counters struct {
	Received uint64
	Refused  uint64 // that Classify did not take
	Dropped  uint64 // because there was no room, or because they had waited too long
	Silent   uint64 // that were not to be answered
	Answered uint64
	Repeated uint64 // of the answered: with an answer that was made before
	Joined   uint64 // that came again while they were being decided
	Failed   uint64 // whose answer could not be made or sent
}

// Server answers on some interfaces. Its fields must not change once Serve is called.
type Server struct {
	Interfaces []string
	DUID       DUID // ServerDUID of the edge's name
	// Decide says what a client is to be told. It may take its time; ctx ends when the client has lost patience. It is called
	// for every message that is for this server, also for RELEASE and DECLINE, by many goroutines at once, and once for a
	// transaction that it answers.
	Decide func(ctx context.Context, c Client) Plan
	// Done is told what became of each packet that was decided about, if it is not nil: err is nil when an answer was sent,
	// and ErrSilent when there was none to send.
	Done func(c Client, plan Plan, err error)
	Log  *slog.Logger

	Workers int
	Queue   int

	flights                                                                flights
	received, refused, dropped, silent, answered, repeated, joined, failed atomic.Uint64
}

// link is an interface and the socket on it.
type link interface {
	links.Link
	receive(b []byte) (n int, in Ingress, err error)
	send(packet []byte, to netip.AddrPort, from netip.Addr) error
}

// job is a packet that somebody is to answer.
type job struct {
	client Client
	came   time.Time
	link   link
}

// Counters are the counts of now.
func (s *Server) Counters() Counters {
	return Counters{Received: s.received.Load(), Refused: s.refused.Load(), Dropped: s.dropped.Load(), Silent: s.silent.Load(), Answered: s.answered.Load(),
		Repeated: s.repeated.Load(), Joined: s.joined.Load(), Failed: s.failed.Load()}
}

// Serve answers until ctx ends. It needs the right to use ports below 1024 (CAP_NET_BIND_SERVICE).
func (s *Server) Serve(ctx context.Context) error { return s.serve(ctx, openLink) }

func (s *Server) serve(ctx context.Context, open func(name string) (link, error)) error {
	if s.Decide == nil || len(s.Interfaces) == 0 || len(s.DUID) == 0 {
		return errors.New("serve DHCPv6: Server.Decide, DUID or Interfaces is not set; name the interfaces that machines boot on")
	}
	var r *room
	run, err := links.Keeper[link]{Protocol: "DHCPv6", Interfaces: s.Interfaces, Open: open, Longest: longestPacket, Log: s.log(),
		Readers: func(l link) []func([]byte) error {
			return []func([]byte) error{func(buffer []byte) error {
				n, in, err := l.receive(buffer)
				if err == nil {
					s.take(append([]byte{}, buffer[:n]...), in, l, r)
				}
				return err
			}}
		}}.Start()
	if err != nil {
		return err
	}
	r = s.start(ctx)
	run(ctx)
	r.end()
	return nil
}

// take has a packet decided about, or answered as it was before. It never waits: what there is no room for is dropped, and its
// client asks again.
func (s *Server) take(packet []byte, in Ingress, l link, r *room) {
	s.received.Add(1)
	c, err := Classify(packet, in)
	if err != nil {
		s.refused.Add(1)
		s.log().Debug("a DHCPv6 packet was not understood", "interface", in.Interface, "error", err)
		return
	}
	if err := Check(c, s.DUID); err != nil {
		s.done(c, Plan{}, Answer{}, err)
		return
	}
	switch what, before := s.flights.begin(c, time.Now()); what {
	case underway:
		s.joined.Add(1)
	case excessive:
		s.dropped.Add(1)
	case answered:
		if err := l.send(before.packet, before.to, in.To); err != nil {
			s.failed.Add(1)
			return
		}
		s.answered.Add(1)
		s.repeated.Add(1)
	case fresh:
		if !r.enter(job{c, time.Now(), l}) {
			s.dropped.Add(1)
			s.flights.land(c, Answer{}, time.Now())
		}
	}
}

// finish sends what the plan says.
func (s *Server) finish(j job, plan Plan) {
	c := j.client
	a, err := Reply(c, plan, s.DUID)
	if err == nil {
		if err = j.link.send(a.Packet, a.To, c.Ingress.To); err != nil {
			err = fmt.Errorf("send the %s for %s to %s: %w", a.Message.MessageType, c, a.To, err)
		}
	}
	if err != nil {
		a = Answer{}
	}
	s.flights.land(c, a, time.Now())
	s.done(c, plan, a, err)
}

// done tells what became of a packet.
func (s *Server) done(c Client, plan Plan, a Answer, err error) {
	attrs := []any{"client", c.String(), "kind", c.Kind.String(), "message", c.Message.String(), "interface", c.Ingress.Interface, "waited", c.Waited()}
	switch {
	case IsSilent(err):
		s.silent.Add(1)
		s.log().Debug("not answered by DHCPv6", append(attrs, "why", err)...)
	case err != nil:
		s.failed.Add(1)
		s.log().Warn("no DHCPv6 answer", append(attrs, "error", err)...)
	default:
		s.answered.Add(1)
		s.log().Info("answered by DHCPv6", append(attrs, "answer", a.Message.MessageType.String(), "to", a.To, "address", plan.Lease.Address, "file", plan.Boot.URL)...)
	}
	if s.Done != nil {
		s.Done(c, plan, err)
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}
