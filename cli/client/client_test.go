package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// coordinator is an API that does what a test says.
type coordinator struct {
	kilnv1connect.UnimplementedFarmServiceHandler
	url    string
	server *httptest.Server

	mu     sync.Mutex // guards what follows
	submit func(n int) error
	watch  func(n int, after uint64, send func(*kilnv1.BuildEvent) error) error
	blob   http.HandlerFunc
	urls   func(digests []string) map[string]string
	calls  map[string]int
}

func startCoordinator(t *testing.T) *coordinator {
	t.Helper()
	c := &coordinator{calls: map[string]int{}}
	mux := http.NewServeMux()
	mux.Handle(kilnv1connect.NewFarmServiceHandler(c))
	mux.HandleFunc("/v1/blobs/", func(w http.ResponseWriter, r *http.Request) {
		c.count("blob")
		c.blob(w, r)
	})
	c.server = httptest.NewServer(mux)
	t.Cleanup(c.server.Close)
	c.url = c.server.URL
	return c
}

func (c *coordinator) count(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call]++
	return c.calls[call]
}

func (c *coordinator) called(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[call]
}

func (c *coordinator) Submit(_ context.Context, req *connect.Request[kilnv1.SubmitRequest]) (*connect.Response[kilnv1.SubmitResponse], error) {
	n := c.count("submit")
	if c.submit != nil {
		if err := c.submit(n); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&kilnv1.SubmitResponse{Id: req.Msg.GetSpec().GetId()}), nil
}

func (c *coordinator) Watch(_ context.Context, req *connect.Request[kilnv1.WatchRequest], stream *connect.ServerStream[kilnv1.WatchResponse]) error {
	return c.watch(c.count("watch"), req.Msg.GetAfter(), func(e *kilnv1.BuildEvent) error { return stream.Send(&kilnv1.WatchResponse{Event: e}) })
}

func dial(t *testing.T, patience time.Duration, urls ...string) *Farm {
	t.Helper()
	f, err := Dial(strings.Join(urls, ","), Options{Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// deadURL is where nobody listens.
func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func logged(sequence uint64, text string) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Sequence: sequence, Event: &kilnv1.BuildEvent_Log{Log: &kilnv1.NodeLog{Lines: []string{text}}}}
}

func done(sequence uint64) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Sequence: sequence, Event: &kilnv1.BuildEvent_State{State: &kilnv1.StateChanged{State: kilnv1.BuildState_BUILD_STATE_DONE}}}
}

var noLeader = connect.NewError(connect.CodeUnavailable, errors.New("the farm has no leader"))

func TestACoordinatorThatDoesNotAnswerIsPassedOver(t *testing.T) {
	c := startCoordinator(t)
	f := dial(t, time.Second, deadURL(t), c.url)
	for range 2 {
		if err := f.Submit(t.Context(), &kilnv1.BuildSpec{Id: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.called("submit"); got != 2 {
		t.Errorf("%d calls, want 2", got)
	}
	if f.dialer.next != 1 {
		t.Error("the one that answers was not remembered")
	}
}

func TestACoordinatorWithoutALeaderIsNotTheLastWord(t *testing.T) {
	cut, whole := startCoordinator(t), startCoordinator(t)
	cut.submit = func(int) error { return noLeader }
	f := dial(t, 10*time.Second, cut.url, whole.url)
	if err := f.Submit(t.Context(), &kilnv1.BuildSpec{Id: "x"}); err != nil {
		t.Fatal(err)
	}
	if cut.called("submit") != 1 || whole.called("submit") != 1 {
		t.Errorf("calls %d and %d, want one of each", cut.called("submit"), whole.called("submit"))
	}
}

func TestAFarmThatStaysWithoutALeaderIsGivenUpWithItsSentence(t *testing.T) {
	c := startCoordinator(t)
	c.submit = func(int) error { return noLeader }
	err := dial(t, 200*time.Millisecond, c.url).Submit(t.Context(), &kilnv1.BuildSpec{Id: "x"})
	var api *APIError
	if !errors.As(err, &api) || api.Code != connect.CodeUnavailable || api.Text != "the farm has no leader" {
		t.Errorf("error %v", err)
	}
	if c.called("submit") < 2 {
		t.Error("it was asked only once")
	}
}

func TestWhatTheFarmRefusesIsNotAskedAgain(t *testing.T) {
	c := startCoordinator(t)
	c.submit = func(int) error { return connect.NewError(connect.CodeInvalidArgument, errors.New("no platform")) }
	if err := dial(t, time.Minute, c.url).Submit(t.Context(), &kilnv1.BuildSpec{Id: "x"}); err == nil || err.Error() != "no platform" {
		t.Errorf("error %v", err)
	}
	if got := c.called("submit"); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
}

func TestANobodyIsNotWaitedFor(t *testing.T) {
	err := dial(t, time.Hour, deadURL(t), deadURL(t)).Submit(t.Context(), &kilnv1.BuildSpec{Id: "x"})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v, want %v", err, ErrUnreachable)
	}
}

func TestWatchingGoesOnElsewhereWhereItBroke(t *testing.T) {
	first, second := startCoordinator(t), startCoordinator(t)
	first.watch = func(_ int, _ uint64, send func(*kilnv1.BuildEvent) error) error {
		if err := errors.Join(send(logged(1, "one")), send(logged(2, "two"))); err != nil {
			return err
		}
		return noLeader
	}
	second.watch = func(_ int, after uint64, send func(*kilnv1.BuildEvent) error) error {
		return errors.Join(send(logged(after+1, fmt.Sprint("after ", after))), send(done(after+2)))
	}
	f := dial(t, 10*time.Second, first.url, second.url)
	var got []string
	end, err := f.Follow(t.Context(), "x", func(e *kilnv1.BuildEvent) { got = append(got, e.GetLog().GetLines()...) })
	if err != nil || end.GetState() != kilnv1.BuildState_BUILD_STATE_DONE {
		t.Fatalf("end %v, %v", end, err)
	}
	if want := "one two after 2"; strings.Join(got, " ") != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestADeadCoordinatorDoesNotEndABuildThatIsWatched(t *testing.T) {
	first, second := startCoordinator(t), startCoordinator(t)
	first.watch = func(_ int, _ uint64, send func(*kilnv1.BuildEvent) error) error {
		err := send(logged(1, "one"))
		go func() {
			first.server.CloseClientConnections()
			first.server.Listener.Close()
		}()
		return errors.Join(err, noLeader)
	}
	second.watch = func(_ int, after uint64, send func(*kilnv1.BuildEvent) error) error { return send(done(after + 1)) }
	end, err := dial(t, 10*time.Second, first.url, second.url).Follow(t.Context(), "x", func(*kilnv1.BuildEvent) {})
	if err != nil || end == nil {
		t.Errorf("end %v, %v", end, err)
	}
}

// A coordinator that is killed while there are bytes for it on the way resets the connection: that is no answer.
func TestAConnectionThatIsResetIsNoAnswer(t *testing.T) {
	c := startCoordinator(t)
	c.watch = func(_ int, _ uint64, send func(*kilnv1.BuildEvent) error) error { return send(done(1)) }
	var resets sync.Map // path → true once a connection was reset on a call of it
	inner := c.server.Config.Handler
	c.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, known := resets.LoadOrStore(r.URL.Path, true); known {
			inner.ServeHTTP(w, r)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			err = errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()) // sends RST
		}
		if err != nil {
			t.Error(err)
		}
	})
	f := dial(t, 10*time.Second, c.url)
	f.heard.Store(true)
	if err := f.Submit(t.Context(), &kilnv1.BuildSpec{Id: "x"}); err != nil {
		t.Error("submit:", err)
	}
	if end, err := f.Follow(t.Context(), "x", func(*kilnv1.BuildEvent) {}); err != nil || end == nil {
		t.Errorf("follow: end %v, %v", end, err)
	}
}

// blobs serves one blob and breaks the connection after part of the answer, the first few times.
func (c *coordinator) serveBlob(b []byte, breaks int) {
	c.blob = func(w http.ResponseWriter, r *http.Request) {
		if c.called("blob") <= breaks {
			from := 0
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
			if from > 0 {
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(b[from : from+(len(b)-from)/2])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// A coordinator that takes connections and says nothing, as one that starts, is asked again.
func TestAHandshakeThatDoesNotEndIsTriedAgain(t *testing.T) {
	late := &dialError{[]error{&handshakeError{context.DeadlineExceeded}}}
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"no handshake in time", connect.NewError(connect.CodeDeadlineExceeded, late), true},
		{"nobody listens", connect.NewError(connect.CodeUnavailable, errors.New("refused")), true},
		{"the call was wrong", connect.NewError(connect.CodeInvalidArgument, errors.New("no")), false},
	} {
		f := dial(t, time.Second, deadURL(t))
		f.heard.Store(true)
		if got := f.passing(c.err); got != c.want {
			t.Errorf("%s: tried again %v, want %v", c.name, got, c.want)
		}
	}
}

func TestABlobThatGoesWhileItIsRead(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789abcdef"), 40000)
	c := startCoordinator(t)
	c.serveBlob(b, 1)
	first := c.blob
	c.blob = func(w http.ResponseWriter, r *http.Request) {
		if c.called("blob") > 1 {
			http.Error(w, "no such blob: somebody deleted it", http.StatusNotFound)
			return
		}
		first(w, r)
	}
	f := dial(t, 10*time.Second, c.url)
	f.heard.Store(true)
	err := f.Blobs.WriteBlob(t.Context(), cache.SumBytes(b), io.Discard)
	if !errors.Is(err, cache.ErrNotFound) || !strings.Contains(err.Error(), "somebody deleted it") {
		t.Error(err)
	}
}

func TestABlobIsReadOnWhereItsConnectionBroke(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789abcdef"), 40000)
	c := startCoordinator(t)
	c.serveBlob(b, 3)
	f := dial(t, 10*time.Second, c.url)
	f.heard.Store(true)
	var got bytes.Buffer
	if err := f.Blobs.WriteBlob(t.Context(), cache.SumBytes(b), &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), b) {
		t.Error("the bytes differ")
	}
	if n := c.called("blob"); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

func TestABlobThatIsNotWhatItIsCalledIsRefused(t *testing.T) {
	c := startCoordinator(t)
	c.serveBlob([]byte("something else"), 0)
	err := dial(t, time.Second, c.url).Blobs.WriteBlob(t.Context(), cache.SumBytes([]byte("this")), &bytes.Buffer{})
	if !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("error %v, want %v", err, cache.ErrMismatch)
	}
}

func TestURLsAreChecked(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"https://a:7300", "https://a:7300"},
		{" https://a:7300/ , https://b ", "https://a:7300 https://b"},
		{"a:7300", ""},
		{"https://a,http://b", ""},
		{"https://a/path", ""},
		{"https://user@a", ""},
		{"", ""},
	} {
		got, err := ParseURLs(c.text)
		if strings.Join(got, " ") != c.want && err == nil || (err == nil) != (c.want != "") {
			t.Errorf("ParseURLs(%q) = %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}
