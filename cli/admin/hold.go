package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func newFarmDrain(env ui.Env) *cobra.Command {
	var reason string
	var during time.Duration
	cmd := access.Command(env, &cobra.Command{
		Use:   "drain BUILDER…",
		Short: "Drain builders: they finish what they run and get no more",
		Example: `  kiln farm drain b7 --reason "kernel upgrade"
  kiln farm drain b7 b8 --for 30m`,
		Args: ui.Between(1, -1, "the id of a builder"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		if during < 0 {
			return ui.Usagef("--for %s: it is how long the builder gets no work, such as 30m", during)
		}
		return hold(ctx, env, f, args, "drains", &kilnv1.HoldRequest{Reason: reason, ForMs: during.Milliseconds()})
	})
	cmd.Flags().StringVar(&reason, "reason", "drained by an operator", "what kiln farm status and kiln queue show")
	cmd.Flags().DurationVar(&during, "for", 0, "how long (default: until kiln farm undrain)")
	return cmd
}

func newFarmUndrain(env ui.Env) *cobra.Command {
	return access.Command(env, &cobra.Command{
		Use:     "undrain BUILDER…",
		Short:   "Resume builders that were drained, or that the farm found faulty",
		Example: `  kiln farm undrain b7 b8`,
		Args:    ui.Between(1, -1, "the id of a builder"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		return hold(ctx, env, f, args, "gets work again", &kilnv1.HoldRequest{Release: true})
	})
}

func hold(ctx context.Context, env ui.Env, f *client.Farm, builders []string, what string, req *kilnv1.HoldRequest) error {
	for _, builder := range builders {
		req.Builder = builder
		if _, err := client.Ask(ctx, f, "drain the builder", f.Admin.Hold, req); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s %s\n", builder, what); err != nil {
			return err
		}
	}
	return nil
}
