package addresses

import (
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/migrate"
	"github.com/kiln-farm/kiln/migrate/leasefile"
)

func newSubnetImport(env ui.Env) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE…", Short: "Convert the configuration of dnsmasq, ISC dhcpd or Kea to subnets and machines",
		Long: `Print the subnets and the machines with fixed addresses that another DHCP server's configuration has, as YAML for kiln apply.
Look it through first: what was not taken over is in the comments at its top, with the reason.`,
		Example: "  kiln subnet import /etc/dnsmasq.conf > subnets.yml\n  kiln diff -f subnets.yml && kiln apply -f subnets.yml",
		Args:    ui.Between(1, -1, "a configuration file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := migrate.NewConfig()
			for _, name := range args {
				file, kind, err := readOld(cmd.Context(), name)
				if err != nil {
					return err
				}
				switch kind {
				case leasefile.DnsmasqLeases, leasefile.ISCLeases, leasefile.KeaLeases:
					return ui.Usagef("%s has the %s, and no subnets: kiln leases import reads it", name, kind)
				}
				o.File = name
				o.Add(file)
			}
			text, err := o.YAML()
			if err != nil {
				return err
			}
			_, err = env.Stdout.Write(text)
			return err
		},
	}
}
