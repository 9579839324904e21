package tftp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
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
	inWorld(t, func(w *world) { w.server.MaxTransfers, w.server.MaxPerClient = 3, 2 }, func(t *testing.T, w *world) {
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
		if c := w.server.Counters(); c.Transfers != 5 || c.Dropped != 1 || c.Evicted != 2 || c.Active != 3 {
			t.Errorf("more clients: got %+v, want 3 transfers, and those before them evicted that nobody answered to", c)
		}
		time.Sleep(time.Minute)
		k := w.client()
		if err := k.get("1000"); err != nil {
			t.Errorf("when the others have ended: %v", err)
		}
	})
}

func TestForgedRequestsDoNotKeepMachinesOut(t *testing.T) {
	inWorld(t, func(w *world) { w.server.MaxTransfers, w.delay = 100, time.Millisecond }, func(t *testing.T, w *world) {
		stop := make(chan struct{})
		go func() { // ten thousand requests a second, each with the address of somebody who is not there
			for n := 0; ; n++ {
				forged := w.network.forge(netip.AddrFrom4([4]byte{198, byte(18 + n>>16), byte(n >> 8), byte(n)}))
				forged.WriteTo(encodeRequest(opRead, "100000", "octet"), addrOf(serverPort))
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
				}
			}
		}()
		time.Sleep(100 * time.Millisecond)
		var group sync.WaitGroup
		for n := range 20 {
			group.Go(func() {
				k := newClient(w.listen("192.0.2."+strconv.Itoa(20+n), 0), serverPort, opts("blksize", "1000")...)
				if err := k.get("50000"); err != nil || len(k.data) != 50000 {
					t.Errorf("machine %d got %d bytes: %v", n, len(k.data), err)
				}
			})
		}
		group.Wait()
		close(stop)
		if c := w.server.Counters(); c.Evicted < 500 || c.Active > 100 {
			t.Errorf("got %+v, want many evicted and at most 100 at once", c)
		}
	})
}

func TestWhenAllHaveAnsweredNobodyIsEvicted(t *testing.T) {
	inWorld(t, func(w *world) { w.server.MaxTransfers, w.delay = 2, time.Millisecond }, func(t *testing.T, w *world) {
		var group sync.WaitGroup
		for n := range 2 {
			group.Go(func() {
				k := newClient(w.listen("192.0.2."+strconv.Itoa(20+n), 0), serverPort)
				if err := k.get("100000"); err != nil {
					t.Errorf("who was there first: %v", err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		w.listen("192.0.2.40", 0).WriteTo(encodeRequest(opRead, "1000", "octet"), addrOf(serverPort))
		time.Sleep(10 * time.Millisecond)
		if c := w.server.Counters(); c.Dropped != 1 || c.Evicted != 0 {
			t.Errorf("got %+v, want that the third is dropped", c)
		}
		group.Wait()
	})
}

func TestAClientWithManyTransfersHasOneShare(t *testing.T) {
	const modest, rate = 10, 1e6
	for _, single := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.server.SinglePort, w.delay, w.rate = single, time.Millisecond, rate
		}, func(t *testing.T, w *world) {
			bytes := map[string]int{}
			for n := range DefaultPerClient + modest {
				address := "192.0.2.100" // of the greedy one
				if n >= DefaultPerClient {
					address = "192.0.2." + strconv.Itoa(10+n)
				}
				bytes[address] = 0
				go newClient(w.listen(address, 0), serverPort, opts("blksize", "1468", "windowsize", "4")...).get("3000000")
			}
			time.Sleep(time.Second)
			for a := range bytes {
				_, bytes[a] = w.sentTo(netip.MustParseAddr(a))
			}
			const d = 10 * time.Second
			time.Sleep(d)
			for a, before := range bytes {
				_, after := w.sentTo(netip.MustParseAddr(a))
				share := float64(after-before) / (rate * d.Seconds() / (modest + 1))
				if a == "192.0.2.100" && share > 1.3 || a != "192.0.2.100" && share < 0.8 {
					t.Errorf("single port %v: %s got %.2f shares, want one", single, a, share)
				}
			}
		})
	}
}

func TestAClientThatSaysNothingUsefulIsReadSlowly(t *testing.T) {
	inWorld(t, func(w *world) { w.delay = time.Millisecond }, func(t *testing.T, w *world) {
		e := w.listen(clientAddr, 0)
		e.WriteTo(encodeRequest(opRead, "100000", "octet"), addrOf(serverPort))
		_, from, _ := e.ReadFrom(make([]byte, 600))
		for range 10_000 { // acknowledgements of blocks that were never sent
			e.WriteTo(ack(7), from)
		}
		begun := time.Now()
		for b := make([]byte, 600); b[3] != 2; e.ReadFrom(b) {
			e.WriteTo(ack(1), from) // it is lost while there is no room for it
			e.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if time.Since(begun) > time.Minute {
				t.Fatal("the transfer does not go on")
			}
		}
		if took := time.Since(begun); took < 50*time.Millisecond {
			t.Errorf("4096 packets that say nothing were read within %v", took)
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
