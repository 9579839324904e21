package farm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// ErrUnreachable: nobody answers where the farm should be.
var ErrUnreachable = errors.New("the farm cannot be reached")

const (
	// patience is how long a farm that answered before may be away: a coordinator restarts in less.
	patience   = 60 * time.Second
	firstDelay = 50 * time.Millisecond
	maxDelay   = 2 * time.Second
	// cancelTime is how long a client that is told to stop tries to tell the farm.
	cancelTime = 5 * time.Second
)

// Blobs is where a farm keeps its blobs.
type Blobs interface {
	// Upload gives the farm those of the digests that it lacks, out of from.
	Upload(ctx context.Context, from cache.Blobs, digests []cache.Digest) error
	// WriteArtifact writes the artifact described by the blob to w, verified. A blob that is missing is
	// cache.ErrNotFound.
	WriteArtifact(ctx context.Context, description, want cache.Digest, w io.Writer) error
}

// Farm is a connection to a farm.
type Farm struct {
	API   kilnv1connect.FarmServiceClient
	Blobs Blobs
	where string // for messages
}

// Dial makes a client of the farm at a URL. It does not connect yet.
func Dial(address string, client *http.Client) (*Farm, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--farm %q: it is a URL like http://127.0.0.1:7300", address)
	}
	base := strings.TrimRight(address, "/")
	client = withTrace(client)
	api := kilnv1connect.NewFarmServiceClient(client, base)
	return &Farm{API: api, Blobs: &remote{api: api, base: base, http: client}, where: base}, nil
}

// Local is a farm inside the process, whose handler the client reaches and whose blobs are in blobs.
func Local(client *http.Client, blobs cache.Blobs) *Farm {
	return &Farm{
		API:   kilnv1connect.NewFarmServiceClient(withTrace(client), "http://farm", connect.WithAcceptCompression("gzip", nil, nil)),
		Blobs: local{blobs},
		where: "inside this process",
	}
}

// Build submits spec and calls on for each event until the build has ended; it returns the last event's change.
// When ctx ends first, the build is canceled on the farm.
func (f *Farm) Build(ctx context.Context, spec *kilnv1.BuildSpec, on func(*kilnv1.BuildEvent)) (*kilnv1.StateChanged, error) {
	err := f.submit(ctx, spec)
	var end *kilnv1.StateChanged
	if err == nil {
		end, err = f.follow(ctx, spec.GetId(), on)
	}
	if ctx.Err() != nil {
		f.cancel(ctx, spec.GetId())
		return nil, context.Cause(ctx)
	}
	return end, err
}

// submit may be repeated: the same id is the same build.
func (f *Farm) submit(ctx context.Context, spec *kilnv1.BuildSpec) error {
	var wait backoff
	for {
		_, err := f.API.Submit(ctx, connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec}))
		if err == nil {
			return nil
		}
		if !f.answered(err) || !again(err) || !wait.sleep(ctx) {
			return f.explain("submit the build", err)
		}
	}
}

// follow watches until the end, over as many connections as it takes.
func (f *Farm) follow(ctx context.Context, id string, on func(*kilnv1.BuildEvent)) (*kilnv1.StateChanged, error) {
	var last uint64
	var wait backoff
	for {
		end, err := f.watch(ctx, id, &last, func(e *kilnv1.BuildEvent) {
			wait = backoff{}
			on(e)
		})
		if end != nil {
			return end, nil
		}
		if err != nil && !again(err) || !wait.sleep(ctx) {
			return nil, f.explain("follow the build", err)
		}
	}
}

func (f *Farm) watch(ctx context.Context, id string, last *uint64, on func(*kilnv1.BuildEvent)) (*kilnv1.StateChanged, error) {
	stream, err := f.API.Watch(ctx, connect.NewRequest(&kilnv1.WatchRequest{Id: id, After: *last}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		event := stream.Msg().GetEvent()
		*last = max(*last, event.GetSequence())
		on(event)
		if change := event.GetState(); change.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE {
			return change, nil
		}
	}
	return nil, stream.Err()
}

// cancel tells the farm that nobody waits for the build any more. What it does not hear it finds out by itself.
func (f *Farm) cancel(ctx context.Context, id string) {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer done()
	_, _ = f.API.Cancel(ctx, connect.NewRequest(&kilnv1.CancelRequest{Id: id, Reason: "stopped by its user"}))
}

// explain makes a sentence of what an API call said.
func (f *Farm) explain(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: the connection to the farm at %s broke and did not come back: %w", what, f.where, ErrUnreachable)
	}
	if !f.answered(err) {
		return fmt.Errorf("%w at %s (%s): is kiln server running there?", ErrUnreachable, f.where, cause(err))
	}
	return &APIError{What: what, Code: connect.CodeOf(err), Text: text(err)}
}

// APIError is what the farm said to a call that it refused.
type APIError struct {
	What string
	Code connect.Code
	Text string
}

func (e *APIError) Error() string { return e.Text }

// answered says that there was a farm on the other side.
func (f *Farm) answered(err error) bool {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return false
	}
	return connect.IsWireError(ce)
}

// again says that the same call may go well later: there is no leader now, or the connection broke.
func again(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeUnknown, connect.CodeInternal:
		return true
	}
	return false
}

func text(err error) string {
	var ce *connect.Error
	if errors.As(err, &ce) {
		return ce.Message()
	}
	return err.Error()
}

// cause is the end of the chain of errors, which names no URL twice.
func cause(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err.Error()
	}
	return text(err)
}

// backoff waits longer each time, with jitter, and gives up when its patience ends.
type backoff struct {
	tries int
	since time.Time
}

func (b *backoff) sleep(ctx context.Context) bool {
	if b.tries == 0 {
		b.since = time.Now()
	}
	if time.Since(b.since) > patience {
		return false
	}
	delay := min(firstDelay<<min(b.tries, 10), maxDelay)
	b.tries++
	timer := time.NewTimer(delay/2 + rand.N(delay/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
