package addresses

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/migrate"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func newLeasesImport(env ui.Env) *cobra.Command {
	var subnet string
	var dryRun bool
	cmd := access.Command(env, &cobra.Command{
		Use: "import FILE…", Short: "Import leases from another DHCP server's files, so that no machine loses its address",
		Long: `Bind the leases in files of dnsmasq, ISC dhcpd or Kea, each for the time that it has left. The subnets must be described:
kiln subnet import makes them of the old configuration. What is left out or refused is told with its line and the reason; then
the command ends with 1. It may be run again.`,
		Example: `  kiln leases import --dry-run /var/lib/misc/dnsmasq.leases
  kiln leases import --farm https://kiln1:7300 /var/lib/dhcp/dhcpd.leases
  kiln leases import /var/lib/kea/kea-leases4.csv`,
		Args: ui.Between(1, -1, "a lease file"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		read, err := readLeases(ctx, args)
		if err != nil {
			return err
		}
		in, err := f.Intent(ctx)
		if err != nil {
			return err
		}
		if subnet != "" && !slices.ContainsFunc(in.GetSubnets(), func(s *kilnv1.Subnet) bool { return s.GetName() == subnet }) {
			return noSubnet(subnet)
		}
		bindings, err := f.Bindings(ctx, "")
		if err != nil {
			return err
		}
		i := &migrate.Import{In: in, Bindings: bindings, Only: subnet, Now: env.Now()(), Bind: func(c []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) { return f.Bind(ctx, c) }}
		if dryRun {
			i.Bind = rehearsal(in, bindings)
		}
		err = i.Run(read)
		return errors.Join(i.Tell(env.Stdout, dryRun), err)
	})
	cmd.Flags().StringVar(&subnet, "subnet", "", "only leases of this subnet")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done")
	return cmd
}
