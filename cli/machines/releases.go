package machines

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewRelease(env ui.Env) *cobra.Command {
	cmd := &cobra.Command{Use: "release", Short: "Create and list releases: what machines can boot", Args: ui.UnknownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var f access.Flags
	create := &cobra.Command{
		Use: "create NAME BUILD", Short: "Create a release from a build", Example: "  kiln release create v2 hello", Args: ui.Between(2, 2, "a name for the release, and a build"),
		RunE: func(cmd *cobra.Command, args []string) error {
			room, builds, err := openRooms(cmd.Context(), env, &f)
			if err != nil {
				return err
			}
			build, err := builds.Find(cmd.Context(), args[1], "")
			if err != nil {
				return err
			}
			r := &kilnv1.Release{Name: args[0]}
			if err := releaseOf(cmd.Context(), builds, build, r); err != nil {
				return err
			}
			return changeOne(cmd.Context(), room, func(*kilnv1.Intent) (*kilnv1.RoomCommand, error) {
				return &kilnv1.RoomCommand{Releases: []*kilnv1.Release{r}}, nil
			})
		},
	}
	f.Add(create.Flags())
	cmd.AddCommand(create, roomCommand(env, "rm NAME", "Forget a release that no group and no machine boots", "  kiln release rm v1", ui.Between(1, 1, "the name of a release"),
		func(ctx context.Context, room rooms, args []string) error {
			return changeOne(ctx, room, func(in *kilnv1.Intent) (*kilnv1.RoomCommand, error) {
				if !slices.ContainsFunc(in.GetReleases(), func(r *kilnv1.Release) bool { return r.GetName() == args[0] }) {
					return nil, ui.Usagef("there is no release called %q: kiln release ls lists them", args[0])
				}
				return &kilnv1.RoomCommand{RemoveReleases: args[:1]}, nil
			})
		}), roomCommand(env, "ls", "List releases", "  kiln release ls", ui.Between(0, 0, "no argument"), func(ctx context.Context, room rooms, _ []string) error {
		in, err := room.Intent(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RELEASE\tPLATFORMS\tBUILD\tGROUPS")
		groups := map[string][]string{} // that boot a release
		for _, g := range in.GetGroups() {
			groups[g.GetRelease()] = append(groups[g.GetRelease()], g.GetName())
		}
		for _, r := range in.GetReleases() {
			var platforms []string
			for p := range r.GetPlatforms() {
				platforms = append(platforms, p)
			}
			slices.Sort(platforms)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable.Line(r.GetName()), strings.Join(platforms, ","), r.GetBuild(), printable.Line(strings.Join(groups[r.GetName()], ",")))
		}
		return w.Flush()
	}))
	return cmd
}

func NewGroup(env ui.Env) *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "List or change groups of machines", Args: ui.UnknownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(roomCommand(env, "ls", "List groups and what they boot", "  kiln group ls", ui.Between(0, 0, "no argument"), func(ctx context.Context, room rooms, _ []string) error {
		in, err := room.Intent(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "GROUP\tSELECTOR\tPRIORITY\tRELEASE")
		for _, g := range in.GetGroups() {
			var labels []string
			for k, v := range g.GetSelector() {
				labels = append(labels, k+"="+v)
			}
			slices.Sort(labels)
			if g.GetUnknown() {
				labels = append(labels, "(and unknown machines)")
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", printable.Line(g.GetName()), printable.Line(strings.Join(labels, ",")), g.GetPriority(), printable.Line(g.GetRelease()))
		}
		return w.Flush()
	}), roomCommand(env, "release GROUP RELEASE", "Let a group boot another release", "  kiln group release web v2", ui.Between(2, 2, "a group and a release"), func(ctx context.Context, room rooms, args []string) error {
		return changeOne(ctx, room, func(in *kilnv1.Intent) (*kilnv1.RoomCommand, error) {
			for _, g := range in.GetGroups() {
				if g.GetName() == args[0] {
					g = proto.CloneOf(g)
					g.Release = args[1]
					return &kilnv1.RoomCommand{Groups: []*kilnv1.Group{g}}, nil
				}
			}
			return nil, ui.Usagef("there is no group called %q: kiln group ls lists them", args[0])
		})
	}))
	return cmd
}
