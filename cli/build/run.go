package build

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/plan"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const tracerName = "github.com/kiln-farm/kiln/cli"

const (
	// maxBuilds is how often a build is submitted when blobs of its outputs turn out to be lost: the cache drops a
	// damaged blob when it finds it, and the next build makes it again.
	maxBuilds = 5
	// lossWait is how long the first of those builds waits, the next ones longer: what loses blobs may pass.
	lossWait = 250 * time.Millisecond
)

func runBuild(ctx context.Context, env ui.Env, o *buildOptions) (err error) {
	begun := time.Now()
	config, err := linuxkit.Load(ctx, o.files, linuxkit.Options{Stdin: env.Stdin, HTTP: http.DefaultClient})
	if err != nil {
		return err
	}
	bundle := config.Bundle
	if o.dryRun {
		yaml, err := linuxkit.MergedYAML(bundle)
		if err == nil {
			_, err = env.Stdout.Write(yaml)
		}
		return err
	}
	warn(env, o.progress, config.Warnings)
	store, err := disk.Open(o.Cache)
	if err != nil {
		return ui.Usagef("%w", err)
	}
	if err := config.Gather(ctx, linuxkit.SourceOptions{Blobs: store, Home: env.Getenv("HOME")}); err != nil {
		return err
	}
	files := newFiles(env.Stdout, o)
	if !o.detach {
		if err := files.check(); err != nil {
			return err
		}
	}
	spec, blobs, err := prepare(ctx, store, o, bundle)
	if err != nil {
		return err
	}
	if o.Farm == "" { // which may have images of its own for that
		if err := plan.CheckBoot(bundle, spec); err != nil {
			return ui.Usagef("%w", err)
		}
	}
	ctx, span := otel.Tracer(tracerName).Start(ctx, "kiln build", trace.WithAttributes(attribute.String("build.name", o.name)))
	defer func() { endSpan(span, err) }()
	f, closeFarm, err := connectFarm(ctx, env, &o.Flags, store, o.unpack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFarm()) }()
	spec.Team = o.Team // which may be the one of the credentials
	if o.signer != nil {
		more, err := o.signer.sign(ctx, f, store, spec, blobs, o.progress, env)
		if err != nil {
			return err
		}
		blobs = append(blobs, more...)
	}
	if o.detach {
		return detach(ctx, env, f, o, spec, blobs, store)
	}
	display, err := progress.Open(o.progress, env.Stderr, env.Getenv("NO_COLOR") != "")
	if err != nil {
		return ui.Usagef("%w", err)
	}
	var summary *progress.Summary
	defer func() { display.Close(summary) }()
	for try := 1; ; try++ {
		if err := f.Blobs.Upload(ctx, store, blobs); err != nil {
			return err
		}
		end, err := buildOnce(ctx, f, spec, display)
		if lostUpload(err) && try < maxBuilds {
			waitForLoss(ctx, try)
			continue
		}
		if err != nil {
			return err
		}
		written, err := files.write(ctx, f.Blobs, end.GetOutputs())
		if err == nil {
			summary = &progress.Summary{Name: o.name, Took: time.Since(begun), Files: written}
			return errors.Join(o.writeMetadata(ctx, spec, end.GetOutputs()), o.pushImages(ctx, env.Stderr))
		}
		if !errors.Is(err, cache.ErrNotFound) || try == maxBuilds || ctx.Err() != nil {
			return err
		}
		waitForLoss(ctx, try)
	}
}

// warn tells of what may be as it is meant. Machines that read the progress find it in an event.
func warn(env ui.Env, mode string, warnings linuxkit.Problems) {
	for _, w := range warnings {
		text := "warning: " + w.String()
		if mode != progress.ModeJSON {
			fmt.Fprintln(env.Stderr, "kiln: "+text)
			continue
		}
		progress.NewJSON(env.Stderr).Event(&kilnv1.BuildEvent{UnixMs: time.Now().UnixMilli(), Event: &kilnv1.BuildEvent_PhaseLog{
			PhaseLog: &kilnv1.PhaseLog{Phase: kilnv1.BuildState_BUILD_STATE_RESOLVING, Lines: []string{text}},
		}})
	}
}

// waitForLoss waits before what was lost is sent or made again.
func waitForLoss(ctx context.Context, try int) {
	select {
	case <-time.After(lossWait << try):
	case <-ctx.Done():
	}
}

// prepare stores what the farm needs to know of the build; blobs are those that it may lack.
func prepare(ctx context.Context, store *disk.Store, o *buildOptions, bundle *kilnv1.ConfigBundle) (*kilnv1.BuildSpec, []cache.Digest, error) {
	var blobs []cache.Digest
	keep := func(m proto.Message) (string, error) {
		d, err := storeMessage(ctx, store, m)
		blobs = append(blobs, d)
		return d.String(), err
	}
	for _, source := range bundle.GetSources() {
		if source.GetDigest() == "" {
			continue
		}
		d, err := cache.ParseDigest(source.GetDigest())
		if err != nil {
			return nil, nil, err
		}
		blobs = append(blobs, d)
	}
	config, err := keep(bundle)
	if err != nil {
		return nil, nil, err
	}
	spec := &kilnv1.BuildSpec{
		Team: o.Team, Name: o.name, Config: config, Platforms: o.platforms(), Formats: o.formatNames(),
		Options: o.shape, Mirrors: o.mirrors, Priority: o.priority,
		ResourceClass: o.class, Detached: o.detach,
	}
	if o.lock != "" {
		lock, err := readLock(ctx, o.lock)
		if err != nil {
			return nil, nil, err
		}
		if spec.Lock, err = keep(lock); err != nil {
			return nil, nil, err
		}
	}
	return spec, blobs, nil
}

// storeMessage keeps a message under the digest of its bytes, which are the same each time.
func storeMessage(ctx context.Context, store *disk.Store, m proto.Message) (cache.Digest, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return cache.Digest{}, err
	}
	d := cache.SumBytes(b)
	return d, putBytes(ctx, store, d, b)
}

// buildOnce runs the build to its end, with an id of its own.
func buildOnce(ctx context.Context, f *client.Farm, spec *kilnv1.BuildSpec, display progress.Display) (*kilnv1.StateChanged, error) {
	if err := newID(spec); err != nil {
		return nil, err
	}
	end, err := f.Build(ctx, spec, display.Event)
	if err != nil {
		return nil, err
	}
	return end, history.Ended(end.GetState(), end.GetError())
}

// newID gives a build an id: a UUIDv7, so that ids sort by the time of their making (RFC 9562 §5.7).
func newID(spec *kilnv1.BuildSpec) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id for the build: %w", err)
	}
	spec.Id = id.String()
	return nil
}

// lostUpload says that the farm does not have what was uploaded to it: it was lost meanwhile.
func lostUpload(err error) bool {
	var refused *client.APIError
	return errors.As(err, &refused) && refused.Code == connect.CodeFailedPrecondition
}

// detach submits a build and leaves it to the farm.
func detach(ctx context.Context, env ui.Env, f *client.Farm, o *buildOptions, spec *kilnv1.BuildSpec, blobs []cache.Digest, store *disk.Store) error {
	if err := newID(spec); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := f.Blobs.Upload(ctx, store, blobs); err != nil {
			return err
		}
		err := f.Submit(ctx, spec)
		if err == nil {
			break
		}
		if !lostUpload(err) || try == maxBuilds {
			return err
		}
		waitForLoss(ctx, try)
	}
	if !o.json {
		_, err := fmt.Fprintln(env.Stdout, spec.GetId())
		return err
	}
	return ui.WriteJSON(env.Stdout, struct {
		Build string `json:"build"`
		Team  string `json:"team"`
		Name  string `json:"name"`
		Farm  string `json:"farm"`
	}{spec.GetId(), spec.GetTeam(), spec.GetName(), f.Where()})
}

func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
