package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/member/enroll"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/coordinator"
	"github.com/kiln-farm/kiln/internal/pki"
)

func newFarmRecover(env ui.Env) *cobra.Command {
	var data, advertise string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover --yes --data DIR --advertise HOST:PORT",
		Short: "Recover a farm from one stopped coordinator, when the majority is lost for good",
		Long: `Make the coordinator whose data directory this is the only one of its farm, with all that it knows. Do it on one of those
that are left, when more than half of the coordinators are lost for good, and never while another one still runs or may come back:
there would be two farms. The coordinator must be stopped. Afterwards start it, and let new ones join it.`,
		Example: `  systemctl stop kiln-coordinator
  kiln farm recover --yes --data /var/lib/kiln/coordinator --advertise 10.0.0.1:7300
  systemctl start kiln-coordinator`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			switch {
			case data == "":
				return ui.Usagef("kiln farm recover needs --data DIR, the data directory of a stopped coordinator")
			case advertise == "":
				return ui.Usagef("kiln farm recover needs --advertise HOST:PORT, the address under which others reach this coordinator")
			case !yes:
				return ui.Usagef("kiln farm recover makes this the only coordinator: if another one still runs or comes back, there are two farms. Add --yes if they are lost for good")
			}
			urls, err := enroll.URLs(advertise)
			if err != nil || len(urls) != 1 {
				return ui.Usagef("--advertise %q: it is HOST:PORT", advertise)
			}
			d, err := node.Open(data)
			if err != nil {
				return ui.Usagef("%w", err)
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			m := &member.Member{Data: d, Role: pki.RoleCoordinator}
			if why, err := m.Load(cmd.Context()); err != nil || why != nil {
				return errors.Join(err, why)
			}
			address := urls[0][len("https://"):]
			if err := coordinator.Recover(coordinator.Config{
				NodeID: m.ID, DataDir: d.Path(), Log: env.Logger(slog.LevelWarn), Cluster: &coordinator.Cluster{Advertise: address, ElectionTimeout: time.Second}, // raft checks it
			}); err != nil {
				return err
			}
			// What it knew of the others must not make it wait for them.
			if err := d.Remember(node.Place{Farm: m.Certificate.Identity().Farm}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s is the only coordinator of farm %s now, at %s: start it, and let new ones join\n",
				m.ID, m.Certificate.Identity().Farm, address)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the stopped coordinator")
	cmd.Flags().StringVar(&advertise, "advertise", "", "HOST:PORT under which others reach it")
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, the others are lost for good")
	return cmd
}
