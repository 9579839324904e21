package admin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	defaultWeight = 100
	maxWeight     = 10_000
)

func newFarmTeam(env ui.Env) *cobra.Command {
	var team kilnv1.Team
	var remove, asJSON bool
	var maxUnpack string
	cmd := &cobra.Command{
		Use:   "team [NAME]",
		Short: "List teams, or set a team's share and limits",
		Long: `Without a name: list the teams. With one: set its share of the farm and its limits; what no flag names becomes what it
is for teams that nobody set anything for. When teams compete, builders are shared in the ratio of their weights.`,
		Example: `  kiln farm team
  kiln farm team web --weight 300 --max-steps 40
  kiln farm team nightly --weight 10 --max-builds 2
  kiln farm team data --max-unpack size=500G,ratio=none
  kiln farm team web --remove`,
		Args: ui.Between(0, 1, "the name of one team"),
	}
	access.Command(env, cmd, func(ctx context.Context, f *client.Farm, args []string) error {
		if len(args) == 0 {
			if remove || cmd.Flags().Changed("weight") || cmd.Flags().Changed("max-steps") || cmd.Flags().Changed("max-builds") || maxUnpack != "" {
				return ui.Usagef("whose share is it? name the team: kiln farm team NAME --weight …")
			}
			return listTeams(ctx, env, f, asJSON)
		}
		if team.Weight < 1 || team.Weight > maxWeight {
			return ui.Usagef("--weight %d: it is from 1 to %d; a team that nobody set anything for has %d", team.Weight, maxWeight, defaultWeight)
		}
		var err error
		if team.Unpack, err = ui.ParseUnpack("--max-unpack", maxUnpack); err != nil {
			return err
		}
		team.Name = args[0]
		if _, err := client.Ask(ctx, f, "set the team", f.Admin.SetTeam, &kilnv1.SetTeamRequest{Team: &team, Remove: remove}); err != nil {
			return err
		}
		if remove {
			_, err := fmt.Fprintf(env.Stdout, "team %s: weight %d, no limits\n", team.Name, defaultWeight)
			return err
		}
		unpack := ""
		if team.Unpack != nil {
			unpack = ", " + report.Unpack(team.Unpack)
		}
		_, err = fmt.Fprintf(env.Stdout, "team %s: weight %d, %s, %s%s\n", team.Name, team.Weight, limit(team.MaxLeases, "steps"), limit(team.MaxBuilds, "builds"), unpack)
		return err
	})
	cmd.Flags().Uint32Var(&team.Weight, "weight", defaultWeight, "its share beside those of other teams, 1 to 10000")
	cmd.Flags().Uint32Var(&team.MaxLeases, "max-steps", 0, "steps that run for it at a time (default: no limit)")
	cmd.Flags().Uint32Var(&team.MaxBuilds, "max-builds", 0, "builds that have not ended (default: no limit)")
	cmd.Flags().StringVar(&maxUnpack, "max-unpack", "", "what an image may unpack to: "+ui.UnpackForm)
	cmd.Flags().BoolVar(&remove, "remove", false, "forget what was set for it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

func limit(n uint32, what string) string {
	if n == 0 {
		return "any number of " + what
	}
	return fmt.Sprintf("at most %d %s at a time", n, what)
}

func listTeams(ctx context.Context, env ui.Env, f *client.Farm, asJSON bool) error {
	status, err := f.Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return ui.WriteMessage(env.Stdout, &kilnv1.StatusResponse{Farm: status.GetFarm(), Teams: status.GetTeams()})
	}
	if len(status.GetTeams()) == 0 {
		return ui.WriteLines(env.Stdout, []string{fmt.Sprintf("nothing is set for any team: each has the weight %d and no limits", defaultWeight)})
	}
	return ui.WriteLines(env.Stdout, report.Teams(status.GetTeams(), env.Style()))
}
