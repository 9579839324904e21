package build

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/plan"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const tracerName = "github.com/kiln-farm/kiln/cli"

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
	files := newFiles(env.Stdout, o.outputs)
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
			return errors.Join(o.writeMetadata(ctx, spec, end.GetOutputs()), pushImages(ctx, o.push, o.outputs, env.Stderr))
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

// readLock reads what runLock wrote.
func readLock(ctx context.Context, path string) (*kilnv1.Lock, error) {
	text, err := userfile.Read(ctx, path, maxLock)
	if err != nil {
		return nil, ui.Usagef("lock file %s: %w; kiln lock writes it", path, userfile.Cause(err))
	}
	lock := &kilnv1.Lock{}
	if err := protojson.Unmarshal(text, lock); err != nil {
		return nil, ui.Usagef("lock file %s cannot be read (%s); kiln lock writes it anew", path, err)
	}
	return lock, nil
}

// maxLock bounds a lock file, in bytes: some thousand images.
const maxLock = 16 << 20
