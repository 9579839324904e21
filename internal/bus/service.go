package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// Service is a subscription and the goroutines that handle what it brings.
type Service struct {
	sub    *nats.Subscription
	cancel context.CancelFunc
	busy   sync.WaitGroup

	mu     sync.Mutex // guards closed, so that no goroutine starts once Close waits
	closed bool
}

// Close unsubscribes, tells running handlers to stop, and waits for them. Requests that are on their way get
// ErrNoLeader, so that no sender waits for an answer that nobody gives.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.sub.Drain() // fails only when the connection is closed already, which unsubscribes too
	s.cancel()
	s.busy.Wait()
}

// begin counts a handler in, unless the service is closed.
func (s *Service) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.busy.Add(1)
	}
	return !s.closed
}

// message is a pointer to a protobuf message M.
type message[M any] interface {
	*M
	proto.Message
}

// Serve answers requests on subject, up to limit at a time; further ones are refused with a sentence. The
// handler's context ends when the sender stops waiting or the service is closed.
func Serve[Q any, PQ message[Q], R proto.Message](nc *nats.Conn, subject string, limit int, handle func(context.Context, PQ) (R, error)) (*Service, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{cancel: cancel}
	slots := make(chan struct{}, limit)
	return s.subscribe(nc, subject, func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
		default:
			respondError(m, fmt.Errorf("too busy: %d requests are being handled", limit))
			return
		}
		if !s.begin() {
			respondError(m, ErrNoLeader)
			<-slots
			return
		}
		go func() {
			defer s.busy.Done()
			defer func() { <-slots }()
			ctx, cancel := contextOf(ctx, m)
			defer cancel()
			req := PQ(new(Q))
			if err := proto.Unmarshal(m.Data, req); err != nil {
				respondError(m, fmt.Errorf("request on %s cannot be read: %w", subject, err))
				return
			}
			reply, err := handle(ctx, req)
			switch {
			case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
				return // the sender does not wait any more
			case err != nil && ctx.Err() != nil:
				respondError(m, ErrNoLeader) // closed
				return
			case err != nil:
				respondError(m, err)
				return
			}
			answer, err := encode(ctx, m.Reply, reply)
			if err != nil {
				respondError(m, err)
				return
			}
			if err := m.RespondMsg(answer); errors.Is(err, nats.ErrMaxPayload) {
				respondError(m, err) // an answer that is only lost is a lost message: the sender asks again
			}
		}()
	})
}

// Subscribe calls handle for each message on subject, one at a time and in order. Messages that cannot be read
// are dropped.
func Subscribe[M any, PM message[M]](nc *nats.Conn, subject string, handle func(context.Context, PM)) (*Service, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{cancel: cancel}
	return s.subscribe(nc, subject, func(m *nats.Msg) {
		if !s.begin() {
			return
		}
		defer s.busy.Done()
		ctx, cancel := contextOf(ctx, m)
		defer cancel()
		msg := PM(new(M))
		if proto.Unmarshal(m.Data, msg) == nil {
			handle(ctx, msg)
		}
	})
}

func (s *Service) subscribe(nc *nats.Conn, subject string, handle nats.MsgHandler) (*Service, error) {
	sub, err := nc.Subscribe(subject, handle)
	if err == nil {
		s.sub = sub
		err = flush(nc)
	}
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	return s, nil
}

// flush returns when the server knows of a new subscription, so that nobody is told of it before. A connection that
// breaks meanwhile comes back with all its subscriptions.
func flush(nc *nats.Conn) error {
	for end := time.Now().Add(flushTimeout); ; time.Sleep(flushRetry) {
		err := nc.Flush()
		if err == nil || nc.IsClosed() || time.Now().After(end) {
			return err
		}
	}
}

const (
	flushTimeout = 5 * time.Second
	flushRetry   = 20 * time.Millisecond
)

// headerLine makes text fit for a header: one line.
func headerLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text[:min(len(text), maxHeader/2)])
}

func respondError(m *nats.Msg, err error) {
	if m.Reply == "" {
		return
	}
	answer := nats.NewMsg(m.Reply)
	if errors.Is(err, ErrNoLeader) {
		answer.Header.Set(headerNoLeader, "1")
	}
	answer.Header.Set(headerError, headerLine(err.Error()))
	_ = m.RespondMsg(answer)
}
