package build

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
)

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
