package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func newFarmJoin(env ui.Env) *cobra.Command {
	var opts member.Flags
	var role string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "join --data DIR --join ADDR --token TOKEN --role coordinator|builder",
		Short: "Exchange a token for a host's certificate, without starting anything",
		Long: `Get this host a certificate of a farm and keep it in DIR, so that kiln coordinator or kiln builder can be started later,
by a service manager, without a token.`,
		Example: `  kiln farm join --data /var/lib/kiln --join kiln1:7300 --token-file token.txt --role builder
  systemctl start kiln-builder`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			parsed, err := pki.ParseRole(role)
			if err != nil || parsed != pki.RoleCoordinator && parsed != pki.RoleBuilder {
				return ui.Usagef("--role %q: it is coordinator or builder; people and CI use kiln login", role)
			}
			n, err := opts.Open(cmd.Context(), env, parsed, access.Patience)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, n.Close()) }()
			who := n.Certificate.Identity()
			if asJSON {
				return ui.WriteJSON(env.Stdout, whoIs(who, n.Credentials()))
			}
			_, err = fmt.Fprintf(env.Stdout, "%s is a %s of farm %s until %s\nstart it with kiln %s --data %s\n",
				who.Name, who.Role, who.Farm, who.Expires.Format(dateOnly), who.Role, opts.Data)
			return err
		},
	}
	opts.Add(cmd.Flags())
	cmd.Flags().StringVar(&role, "role", "", "coordinator or builder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newFarmLeave(env ui.Env) *cobra.Command {
	cmd := access.Command(env, &cobra.Command{
		Use:   "leave COORDINATOR",
		Short: "Remove a coordinator from the farm for good",
		Long: `Take a coordinator out of the farm for good: one that is to be switched off, or one that is lost. It may not come back
under its name: a host that lost its disk joins as a new coordinator, with a new name. The farm refuses to lose so many
that it could not go on.`,
		Example: `  kiln farm leave --farm https://kiln1:7300 c3`,
		Args:    ui.Between(1, 1, "the id of a coordinator"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		if _, err := client.Ask(ctx, f, "remove the coordinator", f.Admin.RemoveMember, &kilnv1.RemoveMemberRequest{Id: args[0]}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(env.Stdout, "%s is not a coordinator of this farm any more: stop it, and remove its data directory\n", args[0])
		return err
	})
	return cmd
}
