package dhcp6

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLink is an interface in memory.
type fakeLink struct {
	in     chan []byte
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards what follows
	gone bool
	sent []string // "ADVERTISE cafe01 after 150ms"
	born time.Time
}

func newFakeLink() *fakeLink {
	return &fakeLink{in: make(chan []byte), closed: make(chan struct{}), born: time.Now()}
}

func (l *fakeLink) Close() { l.once.Do(func() { close(l.closed) }) }

func (l *fakeLink) Changed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

func (l *fakeLink) receive(b []byte) (int, Ingress, error) {
	select {
	case p := <-l.in:
		return copy(b, p), toAll, nil
	case <-l.closed:
		return 0, Ingress{}, net.ErrClosed
	}
}

func (l *fakeLink) send(packet []byte, to netip.AddrPort, from netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to.Port() != clientPort {
		return fmt.Errorf("sent to %s", to)
	}
	l.sent = append(l.sent, fmt.Sprintf("%d:%x after %s", packet[0], packet[1:4], time.Since(l.born)))
	return nil
}

func (l *fakeLink) log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.sent, ", ")
}

// serving runs a test beside a Server on one link.
func serving(t *testing.T, s *Server, test func(t *testing.T, l *fakeLink)) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink()
		s.Interfaces, s.DUID, s.Log = []string{"eth0"}, self, slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.serve(ctx, func(string) (link, error) { return l, nil }) }()
		test(t, l)
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// of is a packet of one of many clients, in a transaction.
func of(client, xid byte, message byte, waited byte) []byte {
	fields := []field{opt(clientID, hexa(fmt.Sprintf("0003 0001 5254007700%02x", client))...), na(iaNA, 7, "fd77::21"), opt(elapsed, 0, waited)}
	if message == request {
		fields = append(fields, toUs)
	}
	p := packet(message, fields...)
	p[3] = xid
	return p
}

// strangers have no address of the link that was made of their MAC, so that their DUIDs count.
func strangers() func() {
	old := toAll
	toAll = from(secret.String())
	return func() { toAll = old }
}

func TestClientsThatAskAgainGetTheSameAnswer(t *testing.T) {
	defer strangers()()
	var decided atomic.Int32
	s := &Server{Workers: 4}
	s.Decide = func(ctx context.Context, c Client) Plan {
		decided.Add(1)
		time.Sleep(3 * time.Second) // until it is in the farm's state
		return full()
	}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		l.in <- of(1, 1, request, 0)
		time.Sleep(time.Second)
		l.in <- of(1, 1, request, 100)
		time.Sleep(time.Second)
		l.in <- of(1, 1, request, 200)
		time.Sleep(2 * time.Second)
		l.in <- of(1, 1, request, 255)
		synctest.Wait()
		if got, want := l.log(), "7:cafe01 after 3s, 7:cafe01 after 4s"; got != want || decided.Load() != 1 {
			t.Errorf("got %s after %d decisions, want %s after one", got, decided.Load(), want)
		}
		if got, want := s.Counters(), (Counters{Received: 4, Answered: 2, Repeated: 1, Joined: 2}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		time.Sleep(rememberFor)
		l.in <- of(1, 1, request, 255)
		time.Sleep(4 * time.Second)
		if decided.Load() != 2 {
			t.Errorf("got %d decisions, want another one for a transaction that is long over", decided.Load())
		}
	})
}

func TestNobodyWaitsForAnother(t *testing.T) {
	defer strangers()()
	s := &Server{Workers: 2, Decide: func(ctx context.Context, c Client) Plan {
		if c.Message.String() == "REQUEST" {
			<-ctx.Done() // the farm has no leader
			return Plan{}
		}
		return full()
	}}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for i := range byte(20) {
			l.in <- of(i, 1, request, 0)
		}
		l.in <- of(99, 2, solicit, 0)
		synctest.Wait()
		if got, want := l.log(), "2:cafe02 after 0s"; got != want {
			t.Errorf("got %s, want %s while all that bind wait", got, want)
		}
		time.Sleep(10 * patience)
		l.in <- of(1, 1, solicit, 0)
		synctest.Wait()
		if got := s.Counters(); got.Silent != 2 || got.Dropped != 18 || got.Answered != 2 {
			t.Errorf("got %+v, want 2 that were decided in vain, 18 that had waited too long, and 2 answers", got)
		}
		if n := len(s.flights.all); n != 2 || len(s.flights.of) != 0 {
			t.Errorf("got %d transactions that are remembered and %d clients, want 2 and none", n, len(s.flights.of))
		}
	})
}

func TestOneClientHasFewDecisionsAtOnce(t *testing.T) {
	defer strangers()()
	s := &Server{Workers: 50, Decide: func(ctx context.Context, c Client) Plan { <-ctx.Done(); return Plan{} }}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for i := range byte(20) {
			l.in <- of(1, i, request, 0)
		}
		l.in <- of(2, 1, request, 0)
		synctest.Wait()
		if got := s.Counters(); got.Dropped != 20-maxOfOne || len(s.flights.all) != maxOfOne+1 {
			t.Errorf("got %+v and %d decisions, want %d of the one and one of the other", got, len(s.flights.all), maxOfOne)
		}
	})
}

func TestQueuesAreBounded(t *testing.T) {
	defer strangers()()
	s := &Server{Workers: 2, Queue: 3, Decide: func(ctx context.Context, c Client) Plan { <-ctx.Done(); return Plan{} }}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for i := range byte(50) {
			l.in <- of(i, 1, solicit, 0)
			synctest.Wait()
		}
		if got := s.Counters(); got.Dropped != 45 {
			t.Errorf("got %+v, want all but 2 + 3 dropped", got)
		}
	})
	s = &Server{Queue: 3, Decide: func(context.Context, Client) Plan { return full(func(p *Plan) { p.Delay = time.Second }) }}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for i := range byte(10) {
			l.in <- of(i, 1, solicit, 0)
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		if got := s.Counters(); got.Dropped != 7 || got.Answered != 3 || !strings.HasPrefix(l.log(), "2:cafe01 after 1s") {
			t.Errorf("got %+v and %s, want 3 answers after a second", got, l.log())
		}
	})
}

func TestWhatIsNotForUsIsNotDecided(t *testing.T) {
	var done []string
	s := &Server{Decide: func(_ context.Context, c Client) Plan {
		t.Errorf("decided about %s", c.Message)
		return full()
	}}
	s.Done = func(c Client, _ Plan, err error) { done = append(done, fmt.Sprintf("%s %t", c.Message, IsSilent(err))) }
	serving(t, s, func(t *testing.T, l *fakeLink) {
		l.in <- packet(request, me, opt(serverID, nobody...), na(iaNA, 7, "fd77::21"))
		l.in <- packet(solicit)
		synctest.Wait()
		if got, want := s.Counters(), (Counters{Received: 2, Refused: 1, Silent: 1}); got != want || fmt.Sprint(done) != "[REQUEST true]" {
			t.Errorf("got %+v and %v, want %+v", got, done, want)
		}
	})
}

func TestAnInterfaceThatComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := []*fakeLink{newFakeLink(), newFakeLink()}
		opened := 0
		s := &Server{Interfaces: []string{"eth0"}, DUID: self, Log: slog.New(slog.DiscardHandler), Decide: func(context.Context, Client) Plan { return full() }}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() {
			served <- s.serve(ctx, func(string) (link, error) {
				if opened++; opened == 2 {
					return nil, fmt.Errorf("not there yet")
				}
				return links[opened/2], nil
			})
		}()
		links[0].in <- of(1, 1, solicit, 0)
		synctest.Wait()
		links[0].mu.Lock()
		links[0].gone = true
		links[0].mu.Unlock()
		time.Sleep(30 * time.Second)
		links[1].in <- of(1, 2, solicit, 0)
		synctest.Wait()
		if got := s.Counters(); got.Answered != 2 {
			t.Errorf("got %+v, want two answers", got)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	decide := func(context.Context, Client) Plan { return Plan{} }
	for _, c := range []struct {
		server *Server
		want   string
	}{
		{&Server{Interfaces: []string{"nothere0"}, DUID: self, Decide: decide}, `"nothere0"`},
		{&Server{DUID: self, Decide: decide}, "name the interfaces"},
	} {
		if err := c.server.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestFlightsAreForgotten(t *testing.T) {
	defer strangers()()
	var f flights
	now := time.Unix(1e9, 0)
	for i := range maxFlights + 100 {
		c := mustClassify(t, of(byte(i), byte(i>>8), solicit, 0), toAll)
		c.Ingress.Index = i // so that none is another's
		if what, _ := f.begin(c, now); what != fresh {
			t.Fatalf("transaction %d: got %v", i, what)
		}
		f.land(c, Answer{Packet: []byte{1}}, now)
	}
	if n := len(f.all); n > maxFlights || len(f.of) != 0 {
		t.Errorf("got %d transactions and %d clients", n, len(f.of))
	}
}
