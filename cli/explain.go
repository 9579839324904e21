package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/explain"
	"github.com/kiln-farm/kiln/cli/farm"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// searchBuilds is how many of the last builds are looked through for one of a name.
const searchBuilds = 200

func newExplain(env Env) *cobra.Command {
	var flags farmFlags
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [flags] BUILD|last",
		Short: "Say why each step of a build ran or was a hit",
		Long: `For each step of a build: whether its result was in the cache already, and if not, which parameter or input
differs from the last build of that name. BUILD is an id, or last for the newest one.`,
		Example: `  kiln explain last
  kiln explain last --name hello
  kiln explain --json 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11`,
		Args: between(1, 1, "the id of a build, or last"),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.fill(env)
			h, err := openHistory(&flags)
			if err != nil {
				return err
			}
			build, previous, err := h.find(cmd.Context(), args[0], name)
			if err != nil {
				return err
			}
			if asJSON {
				return writeExplanationJSON(env.Stdout, build, previous)
			}
			return writeExplanation(env.Stdout, build, previous)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "the last build of this name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// history finds records of builds: in the cache, or at a farm.
type history struct {
	team string
	get  func(ctx context.Context, id string) (*kilnv1.BuildRecord, error)
	list func(ctx context.Context, name string) ([]*kilnv1.BuildRecord, error) // newest first, perhaps of other names too
}

func openHistory(flags *farmFlags) (*history, error) {
	h := &history{team: flags.team}
	if flags.farm != "" {
		f, err := farm.Dial(flags.farm, &http.Client{})
		if err != nil {
			return nil, usagef("%w", err)
		}
		h.get = func(ctx context.Context, id string) (*kilnv1.BuildRecord, error) { return f.Record(ctx, h.team, id) }
		h.list = func(ctx context.Context, name string) ([]*kilnv1.BuildRecord, error) {
			return f.Records(ctx, h.team, name, searchBuilds)
		}
		return h, nil
	}
	if _, err := os.Stat(flags.cache); err != nil {
		return nil, usagef("cache directory %s: %w; nothing was built with it yet", flags.cache, cause(err))
	}
	store, err := cache.OpenDir(flags.cache)
	if err != nil {
		return nil, usagef("%w", err)
	}
	h.get = func(ctx context.Context, id string) (*kilnv1.BuildRecord, error) {
		return cache.GetBuild(ctx, store, h.team, id)
	}
	h.list = func(ctx context.Context, _ string) ([]*kilnv1.BuildRecord, error) {
		return cache.ListBuilds(ctx, store, h.team, searchBuilds)
	}
	return h, nil
}

// find returns a build and the one of its name before it that ended well, nil when there is none.
func (h *history) find(ctx context.Context, id, name string) (build, previous *kilnv1.BuildRecord, err error) {
	if id == "last" {
		builds, err := h.list(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		for _, b := range builds {
			if name == "" || b.GetSpec().GetName() == name {
				id = b.GetSpec().GetId()
				break
			}
		}
		if id == "last" && name != "" {
			return nil, nil, usagef("there is no build called %q of team %s among the last %d", name, h.team, searchBuilds)
		}
		if id == "last" {
			return nil, nil, usagef("team %s has no builds yet", h.team)
		}
	}
	if build, err = h.record(ctx, id); err != nil {
		return nil, nil, err
	}
	builds, err := h.list(ctx, build.GetSpec().GetName())
	if err != nil {
		return nil, nil, err
	}
	for _, b := range builds {
		if b.GetSpec().GetName() == build.GetSpec().GetName() && b.GetSpec().GetId() < id && b.GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
			previous, err = h.record(ctx, b.GetSpec().GetId())
			return build, previous, err
		}
	}
	return build, nil, nil
}

func (h *history) record(ctx context.Context, id string) (*kilnv1.BuildRecord, error) {
	build, err := h.get(ctx, id)
	var api *farm.APIError
	if errors.Is(err, cache.ErrNotFound) || errors.As(err, &api) && api.Code == connect.CodeNotFound {
		return nil, usagef("there is no build %s of team %s", id, h.team)
	}
	return build, err
}

func writeExplanation(w io.Writer, build, previous *kilnv1.BuildRecord) error {
	spec := build.GetSpec()
	state := map[kilnv1.BuildState]string{
		kilnv1.BuildState_BUILD_STATE_DONE: "done", kilnv1.BuildState_BUILD_STATE_FAILED: "failed", kilnv1.BuildState_BUILD_STATE_CANCELED: "canceled",
	}[build.GetState()]
	if state == "" {
		state = "running"
	}
	fmt.Fprintf(w, "%s %s, %s, %s\n", spec.GetName(), spec.GetId(), when(build.GetSubmittedUnixMs()), state)
	if build.GetError() != "" {
		fmt.Fprintf(w, "  %s\n", build.GetError())
	}
	if previous != nil {
		fmt.Fprintf(w, "compared with %s, %s\n", previous.GetSpec().GetId(), when(previous.GetSubmittedUnixMs()))
	}
	for _, s := range explain.Build(build, previous) {
		mark := "ran   "
		if s.Hit {
			mark = "hit   "
		}
		fmt.Fprintf(w, "%s %s", mark, s.Label)
		if !s.Hit && s.Duration > 0 {
			fmt.Fprintf(w, " (%.3f s)", s.Duration)
		}
		fmt.Fprintln(w)
		if s.Hit {
			continue
		}
		for _, reason := range s.Reasons {
			fmt.Fprintf(w, "         %s\n", reason)
		}
	}
	if len(build.GetNodes()) == 0 && build.GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
		fmt.Fprintln(w, "hit    the whole build: the same configuration and images were built before")
	}
	return nil
}

func when(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05") }

func writeExplanationJSON(w io.Writer, build, previous *kilnv1.BuildRecord) error {
	out := struct {
		Build    string         `json:"build"`
		Name     string         `json:"name"`
		State    string         `json:"state"`
		Error    string         `json:"error,omitempty"`
		Previous string         `json:"previous,omitempty"`
		Steps    []explain.Step `json:"steps"`
	}{
		build.GetSpec().GetId(), build.GetSpec().GetName(), build.GetState().String(), build.GetError(),
		previous.GetSpec().GetId(), explain.Build(build, previous),
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
