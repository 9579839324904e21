package builds

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/builds/explain"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewExplain(env ui.Env) *cobra.Command {
	var flags access.Flags
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [flags] BUILD",
		Short: "Explain why each step of a build ran or was a cache hit",
		Long: `For each step of a build: whether its result was in the cache already, and if not, which parameter or input
differs from the last build of that name. ` + history.Which,
		Example: `  kiln explain last
  kiln explain hello
  kiln explain --json 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11`,
		Args: ui.Between(1, 1, history.Arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.Fill(env)
			h, err := history.Open(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			build, err := h.Find(cmd.Context(), args[0], name)
			if err != nil {
				return err
			}
			previous, err := h.Before(cmd.Context(), build)
			if err != nil {
				return err
			}
			if asJSON {
				return writeExplanationJSON(env.Stdout, build, previous)
			}
			return writeExplanation(env.Stdout, build, previous)
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "the last build of this name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeExplanation(w io.Writer, build, previous *kilnv1.BuildRecord) error {
	spec := build.GetSpec()
	fmt.Fprintf(w, "%s %s, %s, %s\n", spec.GetName(), spec.GetId(), when(build.GetSubmittedUnixMs()), report.State(build.GetState()))
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
