package builds

import (
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewQueue(env ui.Env) *cobra.Command {
	var flags access.Flags
	var asJSON bool
	var team string
	var limit uint32
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "List queued steps, and why they wait",
		Long:  `List the steps that could run and do not, in the order in which they would go, each with the reason.`,
		Example: `  kiln queue --farm https://kiln1:7300
  kiln queue --team web --json`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags.Fill(env)
			f, err := flags.Dial(cmd.Context(), env, access.Patience)
			if err != nil {
				return err
			}
			queue, err := f.Queue(cmd.Context(), &kilnv1.QueueRequest{Team: team, Limit: limit})
			if err != nil {
				return err
			}
			if asJSON {
				return ui.WriteMessage(env.Stdout, queue)
			}
			return ui.WriteLines(env.Stdout, report.Queue(queue, env.Style()))
		},
	}
	flags.AddFarm(cmd.Flags())
	cmd.Flags().StringVar(&team, "team", "", "only steps of this team (default: of all)")
	cmd.Flags().Uint32Var(&limit, "limit", 50, "how many at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
