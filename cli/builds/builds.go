package builds

import (
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	defaultBuilds = 20
	// recordsAtOnce is how many records are asked for at a time, for the counts of steps.
	recordsAtOnce = 8
)

func New(env ui.Env) *cobra.Command {
	var flags access.Flags
	var name string
	var limit uint32
	var running, asJSON bool
	cmd := &cobra.Command{
		Use:   "builds",
		Short: "List builds, newest first",
		Example: `  kiln builds
  kiln builds --farm https://kiln1:7300 --running
  kiln builds --name hello --limit 5 --json`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags.Fill(env)
			h, err := history.Open(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			list, err := h.List(cmd.Context(), &kilnv1.ListBuildsRequest{Team: h.Team, Name: name, Limit: limit, Running: running})
			if err != nil {
				return err
			}
			list = wanted(list, name, running, limit)
			builds := make([]report.Build, len(list))
			group, ctx := errgroup.WithContext(cmd.Context())
			group.SetLimit(recordsAtOnce)
			for i, summary := range list {
				group.Go(func() error {
					record, err := h.Get(ctx, summary.GetSpec().GetTeam(), summary.GetSpec().GetId())
					if history.Missing(err) { // it went meanwhile
						record, err = summary, nil
					}
					builds[i] = report.BuildOf(record)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				return err
			}
			if asJSON {
				return ui.WriteJSON(env.Stdout, builds)
			}
			if len(builds) == 0 {
				return ui.WriteLines(env.Stdout, []string{"team " + h.Team + " has no such builds"})
			}
			return ui.WriteLines(env.Stdout, report.Builds(builds, env.Style(), time.Now()))
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "only builds of this name")
	cmd.Flags().Uint32Var(&limit, "limit", defaultBuilds, "how many at most")
	cmd.Flags().BoolVar(&running, "running", false, "only builds that have not ended")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// wanted are those of a list that were asked for: a cache lists builds of every name.
func wanted(list []*kilnv1.BuildRecord, name string, running bool, limit uint32) []*kilnv1.BuildRecord {
	var out []*kilnv1.BuildRecord
	for _, b := range list {
		switch {
		case name != "" && b.GetSpec().GetName() != name:
		case running && b.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE:
		case len(out) < int(limit):
			out = append(out, b)
		}
	}
	return out
}
