package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
)

// farmCommand fills in what all commands below kiln farm share: the flags that name the farm, and its client.
func farmCommand(env ui.Env, cmd *cobra.Command, run func(ctx context.Context, f *client.Farm, args []string) error) *cobra.Command {
	var flags farmFlags
	flags.addFarm(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags.fill(env)
		f, err := flags.dial(cmd.Context(), env, askPatience)
		if err != nil {
			return err
		}
		return run(cmd.Context(), f, args)
	}
	return cmd
}
