package syslog

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/kiln-farm/kiln/internal/recent"
)

const (
	maxDatagram = 8 << 10 // bytes; what is longer is cut
	// perSender is how many lines a second a sender may send for long, and burst at once: a kernel's start in one go.
	perSender = 50
	burst     = 500
	// maxSenders bounds the senders that are remembered. One that is forgotten gets a new burst.
	maxSenders = 10_000
	// total is how many lines a second are taken from all senders together.
	total = 5000
)

// Server hands lines on.
type Server struct {
	// Handle is called for each line, by one goroutine. Dropped is how many of the sender's came too fast before it.
	Handle func(from netip.Addr, m Message, dropped int)

	senders *recent.Memory[netip.Addr, *sender]
	all     *rate.Limiter
}

type sender struct {
	limit   *rate.Limiter
	dropped int
}

// Serve reads from conn until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the reader ends by it
	defer stop()
	defer conn.Close()
	s.senders, s.all = recent.New[netip.Addr, *sender](maxSenders, 0, nil), rate.NewLimiter(total, total)
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		var network net.Error
		if err != nil && errors.As(err, &network) && network.Timeout() {
			continue
		}
		if err != nil {
			return err
		}
		if udp, ok := from.(*net.UDPAddr); ok {
			s.take(udp.AddrPort().Addr().Unmap(), buf[:n], time.Now())
		}
	}
}

func (s *Server) take(from netip.Addr, data []byte, now time.Time) {
	who, ok := s.senders.Get(from)
	if !ok {
		who = &sender{limit: rate.NewLimiter(perSender, burst)}
		s.senders.Put(from, who, 1)
	}
	if !who.limit.AllowN(now, 1) || !s.all.AllowN(now, 1) {
		who.dropped++
		return
	}
	m := Parse(data)
	if m.Text == "" {
		return
	}
	dropped := who.dropped
	who.dropped = 0
	s.Handle(from, m, dropped)
}
