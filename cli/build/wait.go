package build

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/cli/ui/report"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func newBuildWait(env ui.Env) *cobra.Command {
	var flags access.Flags
	var mode string
	cmd := &cobra.Command{
		Use:   "wait [flags] BUILD",
		Short: "Wait for a build and show its progress",
		Long: `Follow a build to its end, and end as it does: with exit code 0 when it is done, with 1 when it failed or was
canceled. A detached build goes on when this command is stopped. ` + history.Which,
		Example: `  kiln build wait --farm https://kiln1:7300 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11
  kiln build wait hello && kiln build fetch hello`,
		Args: ui.Between(1, 1, history.Arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, build, err := history.Find(cmd.Context(), env, &flags, args[0])
			if err != nil {
				return err
			}
			if h.Farm == nil {
				return history.Ended(build.GetState(), build.GetError())
			}
			display, err := progress.Open(mode, env.Stderr, env.Getenv("NO_COLOR") != "")
			if err != nil {
				return ui.Usagef("%w", err)
			}
			return wait(cmd.Context(), h, build, display)
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().StringVar(&mode, "progress", "auto", "auto, tty, plain or json; on standard error")
	return cmd
}

func wait(ctx context.Context, h *history.Builds, build *kilnv1.BuildRecord, display progress.Display) error {
	var summary *progress.Summary
	defer func() { display.Close(summary) }()
	spec := build.GetSpec()
	end, err := h.Farm.Follow(ctx, spec.GetId(), display.Event)
	if err != nil {
		if ctx.Err() != nil {
			return ui.ErrLeft
		}
		return err
	}
	if err := history.Ended(end.GetState(), end.GetError()); err != nil {
		return err
	}
	took := time.Duration(0)
	if record, err := h.Get(ctx, spec.GetTeam(), spec.GetId()); err == nil { // the summary can do without
		took = time.UnixMilli(record.GetFinishedUnixMs()).Sub(time.UnixMilli(record.GetSubmittedUnixMs()))
	}
	summary = &progress.Summary{Name: spec.GetName(), Took: took}
	return nil
}

func newBuildShow(env ui.Env) *cobra.Command {
	var flags access.Flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [flags] BUILD",
		Short: "Show one build: state, steps, outputs",
		Long:  "Show one build: what was asked for, what ran, and what came out. " + history.Which,
		Example: `  kiln build show last
  kiln build show --farm https://kiln1:7300 hello
  kiln build show --json 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11`,
		Args: ui.Between(1, 1, history.Arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, build, err := history.Find(cmd.Context(), env, &flags, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return ui.WriteMessage(env.Stdout, build)
			}
			return ui.WriteLines(env.Stdout, report.BuildPage(build, env.Style(), time.Now()))
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the record as JSON")
	return cmd
}
