package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const roles = "coordinator, builder, edge, submit, admin"

func newFarmToken(env ui.Env) *cobra.Command {
	var role, team string
	var ttl time.Duration
	var asJSON bool
	cmd := access.Command(env, &cobra.Command{
		Use:   "token --role ROLE",
		Short: "Create a join token",
		Long: `Make a token with which a coordinator, a builder, an edge, a person or a CI system gets a certificate of the farm, as
often as it likes until the token expires. Whoever has a token for the role coordinator can become the farm: pass it on
like a password.`,
		Example: `  kiln farm token --role builder
  kiln farm token --role submit --team web --ttl 720h
  kiln farm token --role coordinator --ttl 1h --json`,
		Args: ui.Between(0, 0, "no argument"),
	}, func(ctx context.Context, f *client.Farm, _ []string) error {
		parsed, err := pki.ParseRole(role)
		if err != nil {
			return ui.Usagef("--role %q: it is one of %s", role, roles)
		}
		if team != "" && parsed != pki.RoleSubmit {
			return ui.Usagef("--team goes with --role submit: the others work for all teams")
		}
		if ttl <= 0 {
			return ui.Usagef("--ttl %s: it is how long the token is valid, such as 24h", ttl)
		}
		token, err := client.Ask(ctx, f, "make a token", f.Admin.Token, &kilnv1.TokenRequest{Role: role, Team: team, TtlMs: ttl.Milliseconds()})
		if err != nil {
			return err
		}
		if !asJSON {
			_, err = fmt.Fprintln(env.Stdout, token.GetToken())
			return err
		}
		return ui.WriteJSON(env.Stdout, struct {
			Token   string    `json:"token"`
			Role    string    `json:"role"`
			Team    string    `json:"team,omitempty"`
			Expires time.Time `json:"expires"`
		}{token.GetToken(), role, team, time.UnixMilli(token.GetExpiresUnixMs()).UTC()})
	})
	cmd.Flags().StringVar(&role, "role", "", "what its owner will be: "+roles)
	cmd.Flags().StringVar(&team, "team", "", "the only team that its owner may build for (role submit)")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long it is valid")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
