package builds

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewCancel(env ui.Env) *cobra.Command {
	var flags access.Flags
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel [flags] BUILD…",
		Short: "Cancel builds",
		Long: `End builds that have not ended. Steps that only they wait for are stopped; what is made already stays in the cache.
A build that has ended is left as it is. ` + history.Which,
		Example: `  kiln cancel --farm https://kiln1:7300 last
  kiln cancel --reason "wrong branch" 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11`,
		Args: ui.Between(1, -1, history.Arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.Fill(env)
			h, err := history.OpenFarm(cmd.Context(), env, &flags)
			if err != nil {
				return err
			}
			for _, arg := range args {
				build, err := h.Find(cmd.Context(), arg, "")
				if err != nil {
					return err
				}
				id, what := build.GetSpec().GetId(), "canceled"
				if build.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE {
					what = "had ended"
				} else if err := h.Farm.Cancel(cmd.Context(), id, reason); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(env.Stdout, "%s %s\n", id, what); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags.AddFarm(cmd.Flags())
	flags.AddTeam(cmd.Flags())
	cmd.Flags().StringVar(&reason, "reason", "canceled by its user", "what those who wait for the build are told")
	return cmd
}
