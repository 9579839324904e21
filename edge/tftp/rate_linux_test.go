package tftp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRate measures transfers through a relay that delays packets: MB/s, and the percentage of
// blksize × windowsize / RTT, which no server can exceed (of the RTT that the relay really has). An operation is one file
// of 8 MiB.
//
//	go test -run '^$' -bench Rate ./edge/tftp
//
// With TFTP_SERVER=127.0.0.1:69 and TFTP_FILE=name it measures that server instead.
func BenchmarkRate(b *testing.B) {
	server, name := netip.AddrPort{}, strconv.Itoa(8<<20)
	if other := os.Getenv("TFTP_SERVER"); other != "" {
		server, name = netip.MustParseAddrPort(other), os.Getenv("TFTP_FILE")
	}
	for _, rtt := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
		for _, window := range []int{1, 4, 16, 64} {
			b.Run(fmt.Sprintf("rtt=%s/window=%d", rtt, window), func(b *testing.B) {
				to := server
				if !to.IsValid() {
					to = serveOn(b, "127.0.0.1:0", &Server{}).AddrPort()
				}
				trip := rtt
				if rtt > 0 {
					trip = measured(b, rtt)
					to = newRelay(b, to, rtt/2)
				}
				bytes, granted := 0, ""
				for b.Loop() {
					k := newClient(socket(b), to, opts("blksize", "1468", "windowsize", strconv.Itoa(window), "tsize", "0")...)
					k.data = make([]byte, 0, 9<<20)
					err := k.get(name)
					k.conn.Close()
					if err != nil {
						b.Fatalf("got %d bytes, %v", len(k.data), err)
					}
					bytes, granted = len(k.data), k.granted["windowsize"]
				}
				b.SetBytes(int64(bytes))
				if rtt > 0 {
					rate := float64(bytes) * float64(b.N) / b.Elapsed().Seconds()
					b.ReportMetric(100*rate/(float64(1468*window)/trip.Seconds()), "%possible")
					b.ReportMetric(float64(trip.Microseconds()), "µs-rtt")
				}
				if granted != strconv.Itoa(window) {
					b.Logf("a window of %d was asked, %q granted", window, granted)
				}
			})
		}
	}
}

func socket(t testing.TB) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { // beyond the system's limit, as root: windows must not be lost in here
		if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 4<<20) != nil {
			conn.SetReadBuffer(4 << 20)
		}
	})
	return conn
}

// relay stands between one client at a time and a server, and keeps each packet for a while.
type relay struct {
	front, back *net.UDPConn // towards the client, and towards the server

	mu           sync.Mutex
	client, peer netip.AddrPort // peer is the server's port of the transfer
}

type held struct {
	due  time.Time
	to   netip.AddrPort
	data []byte
}

func newRelay(t testing.TB, server netip.AddrPort, delay time.Duration) netip.AddrPort {
	r := &relay{front: socket(t), back: socket(t)}
	var running sync.WaitGroup
	t.Cleanup(func() {
		r.front.Close()
		r.back.Close()
		running.Wait()
	})
	pass := func(in, out *net.UDPConn, direct func(from netip.AddrPort, packet []byte) netip.AddrPort) {
		queue := make(chan held, 10000)
		running.Go(func() {
			for p := range queue {
				if left := syscall.NsecToTimespec(int64(time.Until(p.due))); left.Nano() > 0 {
					syscall.Nanosleep(&left, nil) // time.Sleep is a millisecond late where the poller sleeps
				}
				out.WriteToUDPAddrPort(p.data, p.to)
			}
		})
		running.Go(func() {
			defer close(queue)
			buffer := make([]byte, 65536)
			for {
				n, from, err := in.ReadFromUDPAddrPort(buffer)
				if err != nil {
					return
				}
				queue <- held{time.Now().Add(delay), direct(from, buffer[:n]), slices.Clone(buffer[:n])}
			}
		})
	}
	pass(r.front, r.back, func(from netip.AddrPort, packet []byte) netip.AddrPort {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.client = from; len(packet) < 2 || binary.BigEndian.Uint16(packet) == opRead {
			r.peer = server
		}
		return r.peer
	})
	pass(r.back, r.front, func(from netip.AddrPort, _ []byte) netip.AddrPort {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.peer = from
		return r.client
	})
	return r.front.LocalAddr().(*net.UDPAddr).AddrPort()
}

// measured is the round trip that a relay really gives: the median of some.
func measured(t testing.TB, rtt time.Duration) time.Duration {
	echo := socket(t)
	defer echo.Close()
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := echo.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			echo.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	to := newRelay(t, echo.LocalAddr().(*net.UDPAddr).AddrPort(), rtt/2)
	conn := socket(t)
	defer conn.Close()
	var trips []time.Duration
	for range 101 {
		start := time.Now()
		conn.WriteToUDPAddrPort([]byte{0}, to)
		if _, _, err := conn.ReadFromUDPAddrPort(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		trips = append(trips, time.Since(start))
	}
	slices.Sort(trips)
	return trips[len(trips)/2]
}
