package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/image/plan"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
	"go.opentelemetry.io/otel/propagation"
)

// Bounds of requests.
const (
	maxMessage   = 4 << 20  // bytes of a request
	minCompress  = 16 << 10 // bytes of an answer that is worth compressing; events are smaller
	maxName      = 256      // bytes of a team, a name, a platform, a format
	maxCmdline   = 4 << 10  // bytes of a kernel command line, which Linux bounds at 2 to 4 KiB
	maxList      = 64       // platforms, formats, mirrors of one build
	maxDigests   = 10_000   // digests asked for at once
	defaultList  = 20
	maxBuildList = 1000
)

// Handler is the API: Connect RPC, /v1/blobs/ and /healthz.
func (c *Coordinator) Handler() http.Handler {
	options := []connect.HandlerOption{connect.WithReadMaxBytes(maxMessage), connect.WithCompressMinBytes(minCompress)}
	rpc := http.NewServeMux()
	rpc.Handle(kilnv1connect.NewFarmServiceHandler(&api{c: c}, options...))
	rpc.Handle(kilnv1connect.NewAdminServiceHandler(&admin{c}, options...))
	rpc.Handle(kilnv1connect.NewJoinServiceHandler(&join{c}, options...))
	rpc.Handle(kilnv1connect.NewRoomServiceHandler(&room{c}, connect.WithReadMaxBytes(maxIntent), connect.WithCompressMinBytes(minCompress)))
	mux := http.NewServeMux()
	for _, service := range []string{kilnv1connect.RoomServiceName, kilnv1connect.FarmServiceName, kilnv1connect.AdminServiceName, kilnv1connect.JoinServiceName} {
		mux.Handle("/"+service+"/", traced(c.identified(permitted(c.forwarded(rpc)))))
	}
	mux.Handle("/v1/blobs/{digest}", c.identified(&blobHandler{c.cfg.Store, c.cfg.Blobs, c.cfg.Log, c.absent}))
	mux.HandleFunc("GET /healthz", c.healthz)
	return mux
}

// Streams are the protocols beside HTTP that come to the API's port: give them to http.Server.TLSNextProto. Empty
// when this is no cluster.
func (c *Coordinator) Streams() map[string]func(*http.Server, *tls.Conn, http.Handler) {
	if c.node.Streams == nil {
		return nil
	}
	return map[string]func(*http.Server, *tls.Conn, http.Handler){replica.Protocol: c.node.Streams.Serve}
}

// healthz answers 200 while the farm has a leader that this coordinator knows, so that a load balancer may send
// clients here.
func (c *Coordinator) healthz(w http.ResponseWriter, _ *http.Request) {
	if l, _ := c.current(); l != nil {
		fmt.Fprintln(w, "ok")
		return
	}
	if address, _ := c.node.LeaderWithID(); c.cfg.Cluster != nil && address != "" && address != raft.ServerAddress(c.cfg.Cluster.Advertise) {
		fmt.Fprintln(w, "ok")
		return
	}
	http.Error(w, "the farm has no leader now", http.StatusServiceUnavailable)
}

// traced takes the caller's trace context from the headers.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// api implements kilnv1connect.FarmServiceHandler.
type api struct{ c *Coordinator }

var _ kilnv1connect.FarmServiceHandler = (*api)(nil)

// leader returns the leader, or the error to tell the client.
func (a *api) leader() (*leader, <-chan struct{}, error) {
	l, changed := a.c.current()
	if l == nil {
		return nil, nil, connect.NewError(connect.CodeUnavailable, replica.ErrNotLeading)
	}
	return l, changed, nil
}

// surely is leader for answers that must not be of the past: another coordinator may lead by now and know more.
func (a *api) surely(ctx context.Context) (*leader, error) {
	l, _, err := a.leader()
	if err != nil || a.c.cfg.Cluster == nil {
		return l, err
	}
	if err := l.Verify(ctx); err != nil {
		return nil, unavailable(fmt.Errorf("%w: %w", replica.ErrNotLeading, err))
	}
	return l, nil
}

// Submit takes a build.
func (a *api) Submit(ctx context.Context, req *connect.Request[kilnv1.SubmitRequest]) (*connect.Response[kilnv1.SubmitResponse], error) {
	l, _, err := a.leader()
	if err != nil {
		return nil, err
	}
	spec := req.Msg.GetSpec()
	if err := checkSpec(spec); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := mayUse(ctx, spec.GetTeam()); err != nil {
		return nil, err
	}
	spec.User = callerOf(ctx).Name
	if spec.Options == nil {
		spec.Options = &kilnv1.BuildOptions{}
	}
	spec.Options.FarmBoot, spec.Options.FarmInitrd = a.c.cfg.Boot, a.c.cfg.Initrd
	answer := connect.NewResponse(&kilnv1.SubmitResponse{Id: spec.GetId()})
	here := false
	l.View(func(m *state.Machine) { here = m.Seen(spec.GetId()) })
	if !here { // long ago, perhaps
		absent, err := a.c.cfg.Store.Missing(ctx, []cache.Key{cache.BuildKey(spec.GetTeam(), spec.GetId())})
		if err != nil {
			return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("look for an earlier build %s: %w", spec.GetId(), err))
		}
		here = len(absent) == 0
	}
	if here {
		return answer, nil
	}
	if err := a.present(ctx, spec); err != nil {
		return nil, err
	}
	l.spans.StartBuild(ctx, spec.GetId(), spec.GetName())
	results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{
		Spec: spec, ResolveParams: plan.ResolveParams(spec), PlanParams: plan.Params(spec),
	}}})
	if err != nil {
		return nil, unavailable(err)
	}
	if r := results[0].Refused; r != "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("build %s is refused: %s", spec.GetId(), r))
	}
	if !results[0].Existing {
		l.log.Info("build submitted", "build", spec.GetId(), "name", spec.GetName(), "team", spec.GetTeam())
	}
	return answer, nil
}

// present checks that what a build begins with is in the cache.
func (a *api) present(ctx context.Context, spec *kilnv1.BuildSpec) error {
	var digests []cache.Digest
	for _, text := range []string{spec.GetConfig(), spec.GetLock()} {
		if d, err := cache.ParseDigest(text); err == nil {
			digests = append(digests, d)
		}
	}
	absent, err := a.c.cfg.Blobs.MissingBlobs(ctx, digests)
	if err != nil {
		return connect.NewError(connect.CodeInternal, fmt.Errorf("look for the build's configuration: %w", err))
	}
	if len(absent) > 0 {
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the farm does not hold the blob %s that the build begins with: upload it to /v1/blobs/ first", absent[0]))
	}
	return nil
}

// checkSpec says what is wrong with a build. What formats there are is the plan's to know.
func checkSpec(s *kilnv1.BuildSpec) error {
	if id, err := uuid.Parse(s.GetId()); err != nil || id.String() != s.GetId() {
		return fmt.Errorf("the build's id %.80q is not a UUID in its usual form", s.GetId())
	}
	if _, err := cache.ParseDigest(s.GetConfig()); err != nil {
		return fmt.Errorf("the build's configuration: %w", err)
	}
	if _, err := cache.ParseDigest(s.GetLock()); err != nil && s.GetLock() != "" {
		return fmt.Errorf("the build's lock: %w", err)
	}
	if len(s.GetPlatforms()) == 0 {
		return errors.New("the build names no platform")
	}
	if len(s.GetPlatforms()) > maxList || len(s.GetFormats()) > maxList || len(s.GetMirrors()) > maxList {
		return fmt.Errorf("at most %d platforms, formats and mirrors are allowed in one build", maxList)
	}
	for _, list := range [][]string{s.GetPlatforms(), s.GetFormats()} {
		for i, v := range list {
			if v == "" || slices.Contains(list[:i], v) {
				return fmt.Errorf("%.80q is given twice or empty", v)
			}
		}
	}
	o := s.GetOptions()
	if len(o.GetCmdline()) > maxCmdline || strings.ContainsAny(o.GetCmdline(), "\n\x00") {
		return fmt.Errorf("the text for the kernel's command line is longer than %d bytes or has more than one line", maxCmdline)
	}
	if o.GetDiskSize() < 0 || o.GetStateSize() < 0 || len(o.GetSignatures()) > maxList {
		return fmt.Errorf("a disk's size is negative, or there are more than %d signatures", maxList)
	}
	words := append([]string{s.GetTeam(), s.GetName(), s.GetResourceClass(), o.GetCompress(), o.GetBoot(), o.GetInitrd(), o.GetSerial(), o.GetRootFs()}, s.GetPlatforms()...)
	words = append(words, s.GetFormats()...)
	for registry, url := range s.GetMirrors() {
		words = append(words, registry, url)
	}
	for _, w := range words {
		if len(w) > maxName || strings.ContainsFunc(w, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("%.80q is longer than %d bytes or has control characters", w, maxName)
		}
	}
	return nil
}

// Cancel ends a build.
func (a *api) Cancel(ctx context.Context, req *connect.Request[kilnv1.CancelRequest]) (*connect.Response[kilnv1.CancelResponse], error) {
	l, _, err := a.leader()
	if err != nil {
		return nil, err
	}
	reason := req.Msg.GetReason()
	if reason == "" {
		reason = "canceled"
	}
	if err := a.mayTouch(ctx, req.Msg.GetId()); err != nil {
		return nil, err
	}
	for {
		results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: req.Msg.GetId(), Reason: reason}}})
		if err != nil {
			return nil, unavailable(err)
		}
		if results[0].Refused != state.RefusedUnknown {
			break
		}
		r, err := a.record(ctx, "", req.Msg.GetId())
		if err != nil {
			return nil, err
		}
		if r.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE {
			break
		}
		// It was submitted just now, after the command.
	}
	return connect.NewResponse(&kilnv1.CancelResponse{}), nil
}

// mayTouch refuses to act on a build of a team that the caller does not belong to.
func (a *api) mayTouch(ctx context.Context, id string) error {
	if callerOf(ctx).Team == "" {
		return nil
	}
	r, err := a.record(ctx, callerOf(ctx).Team, id)
	if err != nil {
		return err
	}
	return mayUse(ctx, r.GetSpec().GetTeam())
}

// MissingBlobs says which of the digests the farm does not hold.
func (a *api) MissingBlobs(ctx context.Context, req *connect.Request[kilnv1.MissingBlobsRequest]) (*connect.Response[kilnv1.MissingBlobsResponse], error) {
	if n := len(req.Msg.GetDigests()); n > maxDigests {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d digests in one request, at most %d are allowed", n, maxDigests))
	}
	digests := make([]cache.Digest, len(req.Msg.GetDigests()))
	for i, text := range req.Msg.GetDigests() {
		d, err := cache.ParseDigest(text)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		digests[i] = d
	}
	absent, err := a.c.cfg.Blobs.MissingBlobs(ctx, digests)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("ask the cache: %w", err))
	}
	answer := &kilnv1.MissingBlobsResponse{}
	for _, d := range absent {
		answer.Digests = append(answer.Digests, d.String())
	}
	return connect.NewResponse(answer), nil
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeUnavailable, err)
}
