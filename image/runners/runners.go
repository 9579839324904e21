package runners

import (
	"context"

	"github.com/kiln-farm/kiln/image/assemble"
	"github.com/kiln-farm/kiln/image/step"
)

// All returns the runner of each pure kind but plan.
func All() map[string]step.Runner {
	return map[string]step.Runner{
		step.Flatten:    runnerFunc(flatten),
		step.Segment:    runnerFunc(segment),
		step.InitrdPart: runnerFunc(initrdPart),
		step.Overlap:    runnerFunc(overlap),
		step.Kernel:     runnerFunc(kernel),
		step.Artifact:   runnerFunc(assemble.Run),
		step.SBOM:       runnerFunc(sbom),
		step.Pick:       runnerFunc(pick),
		step.UKI:        runnerFunc(unified),
		step.Disk:       runnerFunc(partitions),
		step.SquashPart: runnerFunc(squashPart),
		step.FileSystem: runnerFunc(filesystem),
		step.Verity:     runnerFunc(hashTree),
	}
}

type runnerFunc func(context.Context, *step.Request) (*step.Response, error)

func (f runnerFunc) Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	return f(ctx, req)
}
