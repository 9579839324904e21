package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
)

func connect(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestARequestIsAnswered(t *testing.T) {
	nc := connect(t)
	s, err := Serve(nc, "x", 4, func(ctx context.Context, q *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
		if _, ok := ctx.Deadline(); !ok {
			return nil, errors.New("the deadline did not come along")
		}
		if !trace.SpanContextFromContext(ctx).IsValid() {
			return nil, errors.New("the trace did not come along")
		}
		return &kilnv1.LeaseReply{RetryMs: int64(q.Credits)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := trace.ContextWithSpanContext(within(t), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	var reply kilnv1.LeaseReply
	if err := Request(ctx, nc, "x", &kilnv1.LeaseRequest{Credits: 7}, &reply); err != nil {
		t.Fatal(err)
	}
	if reply.RetryMs != 7 {
		t.Errorf("got %d, want 7", reply.RetryMs)
	}
}

func TestARequestFails(t *testing.T) {
	nc := connect(t)
	fails, err := Serve(nc, "fails", 4, func(context.Context, *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
		return nil, errors.New("no:\ngo away")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer fails.Close()
	slow, err := Serve(nc, "slow", 4, func(ctx context.Context, _ *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	short, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()

	var remote *RemoteError
	for _, c := range []struct {
		name, subject string
		ctx           context.Context
		req           *kilnv1.LeaseRequest
		want          func(error) bool
	}{
		{"nobody listens", "nobody", within(t), &kilnv1.LeaseRequest{}, func(err error) bool { return errors.Is(err, ErrNoLeader) }},
		{"the handler's error comes back as one line", "fails", within(t), &kilnv1.LeaseRequest{}, func(err error) bool {
			return errors.As(err, &remote) && remote.Text == "no: go away"
		}},
		{"too large a request is not sent", "fails", within(t), &kilnv1.LeaseRequest{Builder: &kilnv1.BuilderInfo{Id: strings.Repeat("x", MaxPayload)}}, func(err error) bool {
			return errors.Is(err, ErrTooLarge)
		}},
		{"the sender stops waiting", "slow", short, &kilnv1.LeaseRequest{}, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Request(c.ctx, nc, c.subject, c.req, &kilnv1.LeaseReply{}); !c.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAClosedServiceHasNoResponders(t *testing.T) {
	nc := connect(t)
	s, err := Serve(nc, "x", 1, func(context.Context, *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
		return &kilnv1.LeaseReply{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := Request(within(t), nc, "x", &kilnv1.LeaseRequest{}, &kilnv1.LeaseReply{}); !errors.Is(err, ErrNoLeader) {
		t.Errorf("got %v, want ErrNoLeader", err)
	}
}

func TestMessagesArriveInOrder(t *testing.T) {
	nc := connect(t)
	got := make(chan uint64, 100)
	s, err := Subscribe(nc, For("f").AllLogs(), func(_ context.Context, c *kilnv1.LogChunk) { got <- c.Sequence })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range uint64(100) {
		if err := Publish(within(t), nc, For("f").Log("b", "a.b"), &kilnv1.LogChunk{Sequence: i}); err != nil {
			t.Fatal(err)
		}
	}
	for want := range uint64(100) {
		if n := <-got; n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
	}
}

func TestAServerListens(t *testing.T) {
	s, err := Start(Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := Dial(DialOptions{URLs: []string{s.URL()}, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestSubjectsOfOddNamesAreOneToken(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "": "%", "a.b": "a%2Eb", "*": "%2A", "sha256:ab": "sha256:ab", "é >": "%C3%A9%20%3E"} {
		if got := token(in); got != want {
			t.Errorf("token(%q) = %q, want %q", in, got, want)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := Start(Options{})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
