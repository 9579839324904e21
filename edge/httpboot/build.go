package httpboot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/edge/transfer"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	defaultTeam = "default"
	// scanned is how many of a team's latest builds are looked through for a name.
	scanned = 500
	// longestPart of a record's key, in bytes: three times that, escaped, is a file's name in a cache directory.
	longestPart = 80
)

// findBuild is a finished build by its id, or the latest of that name.
func (s *Server) findBuild(ctx context.Context, team, idOrName string) (*kilnv1.BuildRecord, error) {
	if len(team) > longestPart {
		return nil, fmt.Errorf("team %s: %w", team, cache.ErrNotFound)
	}
	if len(idOrName) <= longestPart {
		b, err := record.GetBuild(ctx, s.Store, team, idOrName)
		if err == nil && b.GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
			return b, nil
		}
		if err != nil && !errors.Is(err, cache.ErrNotFound) {
			return nil, err
		}
	}
	all, err := record.ListBuilds(ctx, s.Store, team, scanned)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.GetSpec().GetName() == idOrName && b.GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
			return b, nil
		}
	}
	return nil, fmt.Errorf("build %s of team %s: %w", idOrName, team, cache.ErrNotFound)
}

// output is a build's file for an architecture, or for a variant of it (amd64_v3, as directories are called); nil when it has
// none of that name. Firmware tells no variants: what was built for variants alone serves its architecture, the lowest first.
func output(b *kilnv1.BuildRecord, arch, file string) *kilnv1.BuildOutput {
	var variant *kilnv1.BuildOutput
	for _, o := range b.GetOutputs() {
		if b.GetSpec().GetName()+o.GetFile() != file {
			continue
		}
		if archOf(o) == arch {
			return o
		}
		if strings.HasPrefix(archOf(o), arch+"_") && (variant == nil || archOf(o) < archOf(variant)) {
			variant = o
		}
	}
	return variant
}

// archOf is the architecture of an output as a part of a path.
func archOf(o *kilnv1.BuildOutput) string {
	return strings.ReplaceAll(strings.TrimPrefix(o.GetPlatform(), "linux/"), "/", "_")
}

func (s *Server) buildFile(w http.ResponseWriter, r *http.Request) {
	b, err := s.findBuild(r.Context(), r.PathValue("team"), r.PathValue("build"))
	if err != nil {
		s.Sender.Absent(w, r, err, "build "+r.PathValue("build"))
		return
	}
	o := output(b, r.PathValue("arch"), r.PathValue("file"))
	if o == nil {
		var has []string
		for _, o := range b.GetOutputs() {
			has = append(has, archOf(o)+"/"+b.GetSpec().GetName()+o.GetFile())
		}
		transfer.Fail(w, http.StatusNotFound, "the build has no such file; it has "+strings.Join(has, ", "))
		return
	}
	a, d, err := s.described(r.Context(), o)
	if err != nil {
		s.Sender.Absent(w, r, err, r.PathValue("file"))
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	s.serve(w, r, a, d)
}

// described reads the description of an output.
func (s *Server) described(ctx context.Context, o *kilnv1.BuildOutput) (*artifact.Artifact, cache.Digest, error) {
	d, err := cache.ParseDigest(o.GetDigest())
	if err != nil {
		return nil, d, err
	}
	a, _, err := s.Files.Describe(ctx, d)
	return a, d, err
}

// text is a small output whole.
func (s *Server) text(ctx context.Context, o *kilnv1.BuildOutput) (string, error) {
	const most = 64 << 10
	a, _, err := s.described(ctx, o)
	if err != nil {
		return "", err
	}
	if a.Size > most {
		return "", fmt.Errorf("%s has %d bytes, more than the %d of a command line", o.GetFile(), a.Size, most)
	}
	return s.Files.Text(ctx, a)
}

// artifact serves bytes by their digest: an output, or a blob.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request) {
	d, err := cache.ParseDigest(r.PathValue("digest"))
	if err != nil {
		transfer.Fail(w, http.StatusBadRequest, err.Error()+"; it looks like sha256:<64 digits>")
		return
	}
	reader, err := s.Files.Open(r.Context(), d)
	if err != nil {
		s.Sender.Absent(w, r, err, d.String())
		return
	}
	defer reader.Close()
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	s.Sender.Send(w, r, reader, d)
}

// serve answers with an artifact.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, a *artifact.Artifact, d cache.Digest) transfer.Sent {
	reader, err := s.Files.OpenArtifact(r.Context(), a)
	if err != nil {
		s.Sender.Absent(w, r, err, d.String())
		return transfer.Sent{}
	}
	defer reader.Close()
	return s.Sender.Send(w, r, reader, d)
}
