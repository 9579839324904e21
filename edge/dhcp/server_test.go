package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
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

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// fakeLink is an interface in memory, with one port.
type fakeLink struct {
	in     chan []byte
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	gone bool
	sent []string // "OFFER after 150ms"
	born time.Time
	fail error
}

func newFakeLink() *fakeLink {
	return &fakeLink{in: make(chan []byte), closed: make(chan struct{}), born: time.Now()}
}

func (l *fakeLink) ports() []port { return []port{l} }
func (l *fakeLink) addresses() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.77.0.3/24")}
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
		return copy(b, p), on67(), nil
	case <-l.closed:
		return 0, Ingress{}, net.ErrClosed
	}
}

func (l *fakeLink) send(packet []byte, to Destination, from netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := dhcpv4.FromBytes(packet)
	if err != nil || from != edgeAddr {
		return fmt.Errorf("from %s: %w", from, err)
	}
	l.sent = append(l.sent, fmt.Sprintf("%s after %s", p.MessageType(), time.Since(l.born)))
	return l.fail
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
		s.Interfaces, s.Log = []string{"eth0"}, slog.New(slog.DiscardHandler)
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

func proxying(context.Context, Client) Plan { return proxyPlan("snponly.efi") }

func TestServerAnswers(t *testing.T) {
	var done []string
	s := &Server{Decide: proxying}
	s.Done = func(c Client, plan Plan, err error) {
		done = append(done, fmt.Sprint(c.Kind, " ", errors.Is(err, ErrSilent), " ", err == nil))
	}
	s.Workers = 1
	serving(t, s, func(t *testing.T, l *fakeLink) {
		l.in <- packet(discover, pcMAC, ovmf)
		l.in <- packet(request, pcMAC, ovmf)
		l.in <- packet(offer, pcMAC)
		synctest.Wait()
		if got, want := l.log(), "OFFER after 0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := fmt.Sprint(done), "[UEFI PXE false true UEFI PXE true false]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		l.mu.Lock()
		l.fail = errors.New("the link is down")
		l.mu.Unlock()
		l.in <- packet(discover, pcMAC, ovmf)
		synctest.Wait()
		if got, want := s.Counters(), (Counters{Received: 4, Refused: 1, Silent: 1, Answered: 1, Failed: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestAnswersThatAreDelayed(t *testing.T) {
	s := &Server{Workers: 1, Decide: func(_ context.Context, c Client) Plan {
		p := proxyPlan("x")
		p.Delay = time.Duration(c.Secs) * 10 * time.Millisecond
		return p
	}}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for i, n := range []uint16{20, 15, 0} { // one worker, and yet nobody waits for another's delay
			l.in <- packet(discover, pcMAC, ovmf, secs(n), xid(i))
		}
		time.Sleep(time.Second)
		if got, want := l.log(), "OFFER after 0s, OFFER after 150ms, OFFER after 200ms"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		l.in <- packet(discover, pcMAC, ovmf, secs(60000), xid(3)) // still waits when the server ends
	})
}

func TestWhoHasChosenAnotherServerIsNotWaitedFor(t *testing.T) {
	var decided atomic.Int32
	s := &Server{Decide: func(_ context.Context, c Client) Plan {
		if c.Message != dhcpv4.MessageTypeDiscover {
			return Plan{}
		}
		if !c.Late {
			return Plan{Delay: 150 * time.Millisecond}
		}
		decided.Add(1)
		return proxyPlan("x")
	}}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		l.in <- packet(discover, pcMAC, ovmf, xid(1))
		l.in <- packet(discover, pcMAC, ovmf, xid(2))
		l.in <- packet(discover, piMAC, ovmf, xid(1))
		time.Sleep(100 * time.Millisecond)
		l.in <- packet(discover, piMAC, ovmf, xid(1)) // it repeats itself
		l.in <- packet(request, pcMAC, ovmf, xid(1), addr(optServerID, "10.77.0.99"))
		l.in <- packet(request, pcMAC, ovmf, xid(2), addr(optServerID, "10.77.0.3")) // that is us
		time.Sleep(time.Second)
		if got, want := l.log(), "OFFER after 150ms, OFFER after 150ms"; got != want || decided.Load() != 2 {
			t.Errorf("got %s after %d decisions, want %s", got, decided.Load(), want)
		}
		s.waiting.mu.Lock()
		defer s.waiting.mu.Unlock()
		if n := len(s.waiting.of); n != 0 {
			t.Errorf("%d exchanges are remembered", n)
		}
	})
}

func TestSlowDecisionsNeverStopTheReader(t *testing.T) {
	s := &Server{Workers: 2, Queue: 3, Decide: func(ctx context.Context, c Client) Plan {
		<-ctx.Done() // which says when it is too late
		return proxyPlan("x")
	}}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for range 50 {
			l.in <- packet(discover, pcMAC, ovmf)
			synctest.Wait()
		}
		if got := s.Counters(); got.Received != 50 || got.Dropped != 45 {
			t.Errorf("got %+v, want all but 2 + 3 dropped", got)
		}
		time.Sleep(time.Minute)
		if got := s.Counters(); got.Answered != 2+3 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestDelayedAnswersAreBounded(t *testing.T) {
	s := &Server{Queue: 3, Decide: func(context.Context, Client) Plan { return Plan{Mode: Proxy, Boot: Boot{File: "x"}, Delay: time.Hour} }}
	serving(t, s, func(t *testing.T, l *fakeLink) {
		for i := range 10 {
			l.in <- packet(discover, pcMAC, ovmf, xid(i))
			synctest.Wait()
		}
		if got := s.Counters(); got.Dropped != 7 {
			t.Errorf("got %+v, want 7 dropped", got)
		}
	})
}

func TestServerFollowsAnInterfaceThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := []*fakeLink{newFakeLink(), newFakeLink()}
		opened := 0
		open := func(string) (link, error) {
			opened++
			switch opened {
			case 1:
				return links[0], nil
			case 2:
				return nil, errors.New("not there yet")
			}
			return links[1], nil
		}
		s := &Server{Interfaces: []string{"eth0"}, Decide: proxying, Log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.serve(ctx, open) }()
		links[0].in <- packet(discover, pcMAC, ovmf)
		synctest.Wait()
		links[0].mu.Lock()
		links[0].gone = true
		links[0].mu.Unlock()
		time.Sleep(30 * time.Second)
		links[1].in <- packet(discover, pcMAC, ovmf)
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
	s := &Server{Interfaces: []string{"nothere0"}, Decide: proxying}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), `"nothere0"`) {
		t.Errorf("got %v", err)
	}
	if err := (&Server{Decide: proxying}).Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "name the interfaces") {
		t.Errorf("got %v", err)
	}
}

func TestChoose(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("10.2.0.1/24"), netip.MustParsePrefix("10.2.0.9/24")}
	for _, c := range []struct{ name, asked, lease, want string }{
		{"a broadcast", "255.255.255.255", "", "10.1.0.1"},
		{"one of them", "10.2.0.9", "10.1.0.50/24", "10.2.0.9"},
		{"a broadcast, for a lease in the second network", "255.255.255.255", "10.2.0.50/24", "10.2.0.1"},
		{"a lease in none of them", "255.255.255.255", "10.3.0.50/24", "10.1.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lease, _ := netip.ParsePrefix(c.lease)
			if got := choose(netip.MustParseAddr(c.asked), lease, own); got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if got := choose(broadcast, netip.Prefix{}, nil); got.IsValid() {
		t.Errorf("no addresses: got %s", got)
	}
}

func TestDatagram(t *testing.T) {
	from, to := netip.MustParseAddrPort("10.77.0.3:67"), netip.MustParseAddrPort("10.77.0.50:68")
	for _, payload := range []string{"", "a", "ab", "abc", strings.Repeat("\xff", 1001)} {
		b := datagram(from, to, []byte(payload))
		if got := sum(0, b[:ipHeader]); got != 0xffff {
			t.Errorf("%d bytes: got the header's sum %x", len(payload), got)
		}
		pseudo := append(append([]byte{}, b[12:20]...), 0, protoUDP, b[ipHeader+4], b[ipHeader+5])
		if got := sum(sum(0, pseudo), b[ipHeader:]); got != 0xffff {
			t.Errorf("%d bytes: got the sum %x", len(payload), got)
		}
		if n := int(binary.BigEndian.Uint16(b[2:])); n != len(b) || string(b[28:]) != payload {
			t.Errorf("got %d bytes that say %d", len(b), n)
		}
	}
}

func TestThoseWhoHaveBegunGoFirst(t *testing.T) {
	s := &Server{}
	jobs := make(chan job, 8)
	for range 8 {
		s.enqueue(jobs, job{packet: packet(discover, pcMAC)})
	}
	s.enqueue(jobs, job{packet: packet(request, pcMAC)})
	if got := s.Counters(); len(jobs) != 7 || got.Dropped != 2 {
		t.Errorf("got %d packets in the queue and %+v, want 6 DISCOVERs and the REQUEST", len(jobs), got)
	}
}
