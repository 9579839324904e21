package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func addrOf(a netip.AddrPort) net.Addr { return net.UDPAddrFromAddrPort(a) }

func TestARepeatedRequestStartsNoSecondTransfer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.server.Open = func(ctx context.Context, client netip.AddrPort, name string) (File, error) {
			time.Sleep(2500 * time.Millisecond) // from afar, while the client asks again
			return opener(ctx, client, name)
		}
	}, func(t *testing.T, w *world) {
		k := w.client(opts("blksize", "1000")...)
		k.wait = time.Second
		if err := k.get("10000"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		if c := w.server.Counters(); c.Transfers != 1 || c.Duplicates < 2 || len(k.answers) != 1 {
			t.Errorf("got %+v and answers of %v, want one transfer", c, k.answers)
		}
	})
}

func TestAClientThatStartsAgainFromItsPortIsServed(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, c := range []struct {
			name   string
			second string
			sleep  time.Duration
		}{
			{"with another file at once", "5000", 0},
			{"with the same file after a while", "3000", 5 * time.Second},
		} {
			t.Run(fmt.Sprintf("%s, single port %v", c.name, single), func(t *testing.T) {
				inWorld(t, func(w *world) { w.server.SinglePort = single }, func(t *testing.T, w *world) {
					e := w.listen(clientAddr, 2070)
					e.WriteTo(encodeRequest(opRead, "3000", "octet"), addrOf(serverPort))
					b := make([]byte, 600)
					_, from, _ := e.ReadFrom(b)
					e.WriteTo(ack(1), from) // and then the machine is reset
					time.Sleep(c.sleep)
					e.Close()
					k := newClient(w.listen(clientAddr, 2070), serverPort)
					if err := k.get(c.second); err != nil || strconv.Itoa(len(k.data)) != c.second {
						t.Errorf("got %d bytes, %v", len(k.data), err)
					}
					ended := w.reports()
					var canceled, whole int
					for _, done := range ended {
						if errors.Is(done.Err, context.Canceled) {
							canceled++
						} else if done.Err == nil {
							whole++
						}
					}
					if canceled != 1 || whole != 1 {
						t.Errorf("got the report %+v", ended)
					}
				})
			})
		}
	}
}

func TestAClientThatWantsAFileAgainAtOnceIsServed(t *testing.T) {
	inWorld(t, func(w *world) { w.delay = time.Millisecond }, func(t *testing.T, w *world) {
		e := w.listen(clientAddr, 2070)
		e.WriteTo(encodeRequest(opRead, "100", "octet"), addrOf(serverPort))
		b := make([]byte, 600)
		_, from, _ := e.ReadFrom(b)
		e.WriteTo(encodeRequest(opRead, "100", "octet"), addrOf(serverPort)) // overtakes the last acknowledgement
		e.WriteTo(ack(1), from)
		e.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, again, err := e.ReadFrom(b); err != nil || n != 104 || again.String() == from.String() {
			t.Errorf("got %d bytes from %v, %v", n, again, err)
		}
	})
}

func TestForgedRequestsMakeUsSendLittle(t *testing.T) {
	for _, options := range [][]option{nil, opts("blksize", "1468", "windowsize", "64")} {
		inWorld(t, nil, func(t *testing.T, w *world) {
			victim := w.listen(clientAddr, 0)
			victim.WriteTo(encodeRequest(opRead, "1000000", "octet", options...), addrOf(serverPort))
			time.Sleep(time.Hour)
			if n, bytes := w.sentTo(victim.at.Addr()); n != firstTries || bytes > firstTries*(plainBlock+headerLen) {
				t.Errorf("options %v: got %d packets of %d bytes in all", options, n, bytes)
			}
			ended := w.reports()
			if len(ended) != 1 || !errors.Is(ended[0].Err, errSilent) {
				t.Errorf("got the report %+v", ended)
			}
		})
	}
}

func TestAClientThatDiesIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		options []option
		after   time.Duration
	}{
		{nil, (1 + 1 + 2 + 4 + 8) * time.Second},
		{opts("timeout", "7"), 5 * 7 * time.Second},
	} {
		inWorld(t, nil, func(t *testing.T, w *world) {
			e := w.listen(clientAddr, 0)
			e.WriteTo(encodeRequest(opRead, "100000", "octet", c.options...), addrOf(serverPort))
			_, from, _ := e.ReadFrom(make([]byte, 600))
			if len(c.options) > 0 {
				e.WriteTo(ack(0), from)
				time.Sleep(time.Millisecond)
			}
			e.WriteTo(ack(1), from)
			time.Sleep(time.Hour)
			ended := w.reports()
			if len(ended) != 1 || !errors.Is(ended[0].Err, errSilent) || ended[0].Bytes != 512 || ended[0].Resent != mostTries-1 {
				t.Fatalf("got the report %+v", ended)
			}
			if took := ended[0].Duration; took > c.after+time.Second || took < c.after-time.Second {
				t.Errorf("options %v: got %s, want about %s", c.options, took, c.after)
			}
		})
	}
}

func TestLimitsOfTransfers(t *testing.T) {
	var log bytes.Buffer
	inWorld(t, func(w *world) {
		w.server.MaxTransfers, w.server.MaxPerClient = 3, 2
		w.server.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}, func(t *testing.T, w *world) {
		for range 3 {
			w.listen(clientAddr, 0).WriteTo(encodeRequest(opRead, "1000", "octet"), addrOf(serverPort))
		}
		time.Sleep(time.Millisecond)
		time.Sleep(time.Millisecond)
		if c := w.server.Counters(); c.Transfers != 2 || c.Dropped != 1 {
			t.Errorf("one client: got %+v, want 2 transfers", c)
		}
		for i := range 3 {
			w.listen("192.0.2."+strconv.Itoa(20+i), 0).WriteTo(encodeRequest(opRead, "1000", "octet"), addrOf(serverPort))
		}
		time.Sleep(time.Millisecond)
		if c := w.server.Counters(); c.Transfers != 3 || c.Dropped != 3 {
			t.Errorf("more clients: got %+v, want 3 transfers", c)
		}
		time.Sleep(time.Minute)
		// What one client has too many of is not this edge's fault.
		synctest.Wait() // for who writes it
		if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "does not keep up with TFTP") || !strings.Contains(said, "unanswered=2 ") {
			t.Errorf("the edge says %q", said)
		}
		k := w.client()
		if err := k.get("1000"); err != nil {
			t.Errorf("when the others have ended: %v", err)
		}
	})
}

func TestStrangersCannotDisturbATransfer(t *testing.T) {
	for _, single := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.server.SinglePort = single
			w.delay = time.Millisecond
		}, func(t *testing.T, w *world) {
			k := w.client(opts("windowsize", "4")...)
			stranger := w.listen("192.0.2.66", 0)
			go func() {
				for range 20 {
					time.Sleep(time.Millisecond)
					for _, port := range []uint16{69, 40001, 40002, 40003, 40004} { // the transfer's is among them
						to := addrOf(netip.AddrPortFrom(serverPort.Addr(), port))
						stranger.WriteTo(ack(3), to)
						stranger.WriteTo(appendError(nil, &refusal{0, "end"}), to)
					}
				}
			}()
			if err := k.get("100000"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServeEndsItsTransfers(t *testing.T) {
	for _, single := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(1)
			ended := make(chan Transfer, 1)
			s := &Server{Open: opener, SinglePort: single, Log: slog.New(slog.DiscardHandler), Sent: func(done Transfer) { ended <- done }}
			s.dial = func(client netip.AddrPort, _ netip.Addr) (lineCloser, error) { return n.dial(serverAddr, client), nil }
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error)
			socket := n.listen(serverAddr, 69)
			go func() { served <- s.Serve(ctx, socket) }()
			e := n.listen(clientAddr, 0)
			e.WriteTo(encodeRequest(opRead, "1000", "octet"), addrOf(serverPort))
			e.Read(make([]byte, 600))
			start := time.Now()
			cancel()
			if err := <-served; err != nil || time.Since(start) > 0 {
				t.Errorf("got %v after %s", err, time.Since(start))
			}
			if done := <-ended; !errors.Is(done.Err, context.Canceled) {
				t.Errorf("got %+v", done)
			}
		})
	}
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	n := newNetwork(1)
	if err := (&Server{}).Serve(t.Context(), n.listen(serverAddr, 69)); err == nil || !strings.Contains(err.Error(), "Server.Open is not set") {
		t.Errorf("got %v", err)
	}
	socket := n.listen(serverAddr, 70)
	socket.Close()
	if err := (&Server{Open: opener}).Serve(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "the socket was closed") {
		t.Errorf("got %v", err)
	}
}
