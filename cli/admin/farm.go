package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewFarm(env ui.Env) *cobra.Command {
	return ui.Group("farm", "Administer a farm: members, tokens, teams, backups",
		newFarmStatus(env), newFarmMembers(env), newFarmBuilders(env),
		newFarmToken(env), newFarmJoin(env), newFarmLeave(env),
		newFarmDrain(env), newFarmUndrain(env), newFarmTeam(env),
		newFarmBackup(env), newFarmRestore(env), newFarmRecover(env))
}

// watchEvery is how often --watch asks.
const watchEvery = 2 * time.Second

func newFarmStatus(env ui.Env) *cobra.Command {
	var asJSON, watch bool
	cmd := access.Command(env, &cobra.Command{
		Use:   "status",
		Short: "Show the farm's leader, members and load",
		Example: `  kiln farm status --farm https://kiln1:7300
  kiln farm status --watch
  kiln farm status --json`,
		Args: ui.Between(0, 0, "no argument"),
	}, func(ctx context.Context, f *client.Farm, _ []string) error {
		for {
			status, err := f.Status(ctx)
			switch {
			case err != nil:
				return err
			case asJSON:
				err = ui.WriteMessage(env.Stdout, status)
			default:
				style := env.Style()
				if watch && style.Color { // a terminal: each page in the place of the last one
					fmt.Fprint(env.Stdout, "\x1b[H\x1b[2J")
				}
				err = ui.WriteLines(env.Stdout, report.Status(status, style))
			}
			if err != nil || !watch {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(watchEvery):
			}
		}
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it anew every two seconds")
	return cmd
}

func newFarmMembers(env ui.Env) *cobra.Command {
	return farmList(env, "members", "List the coordinators", func(s *kilnv1.StatusResponse) proto.Message {
		return &kilnv1.StatusResponse{Farm: s.GetFarm(), Leader: s.GetLeader(), Level: s.GetLevel(), Epoch: s.GetEpoch(), Members: s.GetMembers()}
	}, func(s *kilnv1.StatusResponse, style report.Style) []string {
		if len(s.GetMembers()) == 0 {
			return []string{"the farm is one process: kiln server"}
		}
		return report.Members(s.GetMembers(), style)
	})
}

func newFarmBuilders(env ui.Env) *cobra.Command {
	return farmList(env, "builders", "List the builders, and what each does", func(s *kilnv1.StatusResponse) proto.Message {
		return &kilnv1.StatusResponse{Farm: s.GetFarm(), Leader: s.GetLeader(), Builders: s.GetBuilders(), Workers: s.GetWorkers()}
	}, func(s *kilnv1.StatusResponse, style report.Style) []string {
		if len(s.GetWorkers()) == 0 {
			return []string{"no builder works for this farm: start one with kiln builder"}
		}
		return report.Builders(s.GetWorkers(), style)
	})
}

// farmList is a command that shows a part of the farm's status.
func farmList(env ui.Env, use, short string, part func(*kilnv1.StatusResponse) proto.Message, page func(*kilnv1.StatusResponse, report.Style) []string) *cobra.Command {
	var asJSON bool
	cmd := access.Command(env, &cobra.Command{
		Use:     use,
		Short:   short,
		Example: fmt.Sprintf("  kiln farm %s --farm https://kiln1:7300\n  kiln farm %s --json", use, use),
		Args:    ui.Between(0, 0, "no argument"),
	}, func(ctx context.Context, f *client.Farm, _ []string) error {
		status, err := f.Status(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return ui.WriteMessage(env.Stdout, part(status))
		}
		return ui.WriteLines(env.Stdout, page(status, env.Style()))
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
