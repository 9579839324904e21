package registry

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/plan"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Run implements step.Runner for kind resolve: of the build in the request, output "lock" is a Lock.
func (r *Registry) Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	spec := req.Build
	var bundle kilnv1.ConfigBundle
	if err := r.message(ctx, spec.GetConfig(), &bundle); err != nil {
		return nil, err
	}
	lock, err := r.Lock(ctx, &bundle, spec, req.Log)
	if err != nil {
		return nil, err
	}
	for _, image := range lock.GetImages() {
		image.ResolvedUnixMs = 0 // when it was asked must not change the plan's key
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(lock)
	if err != nil {
		return nil, fmt.Errorf("encode the lock: %w", err)
	}
	draft, err := r.cfg.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	if _, err := draft.Write(encoded); err != nil {
		return nil, err
	}
	d, size, err := draft.Commit()
	return &step.Response{Outputs: []step.Output{{Name: "lock", Digest: d, Size: size}}}, err
}

// Lock resolves all references of a configuration as a build of that spec would. Log hears what it waits for.
func (r *Registry) Lock(ctx context.Context, bundle *kilnv1.ConfigBundle, spec *kilnv1.BuildSpec, log func(string)) (*kilnv1.Lock, error) {
	refs, err := plan.References(bundle, spec)
	if err != nil {
		return nil, err
	}
	req := Request{References: refs, Platforms: spec.GetPlatforms(), Team: spec.GetTeam(),
		Pull: spec.GetOptions().GetPull(), Mirrors: spec.GetMirrors(), Log: log}
	if spec.GetLock() != "" {
		req.Locked = &kilnv1.Lock{}
		if err := r.message(ctx, spec.GetLock(), req.Locked); err != nil {
			return nil, err
		}
	}
	return r.Resolve(ctx, req)
}

const maxMessage = 64 << 20

func (r *Registry) message(ctx context.Context, digest string, m proto.Message) error {
	d, err := cache.ParseDigest(digest)
	if err != nil {
		return &step.Failure{Err: err}
	}
	f, err := r.cfg.Blobs.Open(ctx, d)
	if err != nil {
		return &step.MissingBlob{Digest: d}
	}
	defer f.Close()
	if f.Size > maxMessage {
		return step.Failf("blob %s has %d bytes, more than the %d allowed for what it is", d, f.Size, maxMessage)
	}
	raw := make([]byte, f.Size)
	if _, err := f.ReadAt(raw, 0); err != nil && f.Size > 0 {
		return err
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		return step.Failf("blob %s is no %s: %w", d, m.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}
