package build

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/internal/outfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// metadata is what --metadata-file holds.
type metadata struct {
	Build   string           `json:"build"`
	Team    string           `json:"team"`
	Name    string           `json:"name"`
	Config  string           `json:"config"`
	Outputs []outputMetadata `json:"outputs"`
}

type outputMetadata struct {
	Platform string `json:"platform"`
	Format   string `json:"format"`
	Path     string `json:"path"`
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`
	Step     string `json:"step"`     // key of the step that made it
	Artifact string `json:"artifact"` // digest of the blob that describes it
}

func (o *buildOptions) writeMetadata(ctx context.Context, spec *kilnv1.BuildSpec, outputs []*kilnv1.BuildOutput) error {
	if o.metadata == "" {
		return nil
	}
	m := metadata{Build: spec.GetId(), Team: spec.GetTeam(), Name: spec.GetName(), Config: spec.GetConfig(), Outputs: []outputMetadata{}}
	paths := &files{targets: o.outputs}
	for _, out := range outputs {
		if out.GetSize() == 0 {
			continue
		}
		path, err := paths.path(out)
		if err != nil {
			return err
		}
		m.Outputs = append(m.Outputs, outputMetadata{
			Platform: out.GetPlatform(), Format: out.GetFormat(), Path: path, Digest: out.GetDigest(),
			Size: out.GetSize(), Step: out.GetStep(), Artifact: out.GetArtifact(),
		})
	}
	err := outfile.Write(ctx, o.metadata, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(m)
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", o.metadata, err)
	}
	return nil
}
