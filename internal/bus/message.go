package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/proto"
)

const (
	// MaxPayload is the size in bytes that a message may have, encoded.
	MaxPayload = 256 << 10
	// maxHeader leaves room for headers on top of it.
	maxHeader = 8 << 10

	headerWait     = "Kiln-Wait-Ms"   // what is left until the sender gives up: no clocks are compared
	headerError    = "Kiln-Error"     // the reply is an error with this text
	headerNoLeader = "Kiln-No-Leader" // the reply is ErrNoLeader
)

// Errors that callers decide on.
var (
	// ErrNoLeader: nobody listens, because there is no leader now or it is not up yet. Wait a little and ask again.
	ErrNoLeader = errors.New("the farm has no leader at the moment")
	// ErrTooLarge: the message is over MaxPayload and was not sent.
	ErrTooLarge = errors.New("message is too large for the bus")
)

// RemoteError is what the handler of a request returned.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// Request sends req and waits for the answer, which it puts into reply, until ctx ends; at most for maxRequest, since
// whoever was to answer may have died.
func Request(ctx context.Context, nc *nats.Conn, subject string, req, reply proto.Message) error {
	m, err := encode(ctx, subject, req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxRequest)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		m.Header.Set(headerWait, strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10))
	}
	answer, err := nc.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoLeader
	case err != nil:
		return fmt.Errorf("ask %s: %w", subject, err)
	}
	if answer.Header.Get(headerNoLeader) != "" {
		return ErrNoLeader
	}
	if text := answer.Header.Get(headerError); text != "" {
		return &RemoteError{text}
	}
	if err := proto.Unmarshal(answer.Data, reply); err != nil {
		return fmt.Errorf("answer of %s: %w", subject, err)
	}
	return nil
}

// Publish sends msg to whoever listens, if anyone does.
func Publish(ctx context.Context, nc *nats.Conn, subject string, msg proto.Message) error {
	m, err := encode(ctx, subject, msg)
	if err != nil {
		return err
	}
	if err := nc.PublishMsg(m); err != nil {
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	return nil
}

func encode(ctx context.Context, subject string, msg proto.Message) (*nats.Msg, error) {
	data, err := proto.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("encode a message for %s: %w", subject, err)
	}
	if len(data) > MaxPayload {
		return nil, fmt.Errorf("%w: %d bytes for %s, at most %d", ErrTooLarge, len(data), subject, MaxPayload)
	}
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(http.Header(m.Header)))
	return m, nil
}

// contextOf is parent with the trace and the deadline that m carries.
func contextOf(parent context.Context, m *nats.Msg) (context.Context, context.CancelFunc) {
	ctx := propagation.TraceContext{}.Extract(parent, propagation.HeaderCarrier(http.Header(m.Header)))
	ctx = context.WithValue(ctx, senderKey{}, senderOf(m.Subject))
	if ms, err := strconv.ParseInt(m.Header.Get(headerWait), 10, 64); err == nil && ms > 0 && ms <= int64(maxWait/time.Millisecond) {
		return context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
	}
	return context.WithCancel(ctx)
}

type senderKey struct{}

// Sender is, in a handler, the name of the builder that the message's subject says it is from.
func Sender(ctx context.Context) string {
	name, _ := ctx.Value(senderKey{}).(string)
	return name
}

const (
	// maxWait bounds what a sender may claim.
	maxWait = time.Hour
	// maxRequest bounds how long an answer is waited for.
	maxRequest = 2 * time.Minute
)
