package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cli/progress"
	"github.com/kiln-farm/kiln/edge/intent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// roomCommand is a command that works on what machines boot.
func roomCommand(env Env, use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, room rooms, args []string) error) *cobra.Command {
	var f farmFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			room, _, err := openRooms(env, &f)
			if err != nil {
				return err
			}
			return run(cmd.Context(), room, args)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func newMachines(env Env) *cobra.Command {
	var json bool
	cmd := roomCommand(env, "machines", "List machines, what they boot, and what they did last", "  kiln machines", between(0, 0, "no argument"),
		func(ctx context.Context, room rooms, _ []string) error { return listMachines(ctx, env, room, json) })
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}

func listMachines(ctx context.Context, env Env, room rooms, json bool) error {
	in, err := room.Intent(ctx)
	if err != nil {
		return err
	}
	last := map[string]*kilnv1.BootEvent{}
	if err := room.Boots(ctx, "", false, func(e *kilnv1.BootEvent) error {
		name := e.GetMachine()
		if name == "" {
			name = e.GetMac()
		}
		last[name] = e
		return nil
	}); err != nil {
		return err
	}
	index := intent.NewIndex(in)
	type row struct {
		Name    string `json:"name"`
		MACs    string `json:"macs"`
		Release string `json:"release"`
		From    string `json:"from"`
		Last    string `json:"last,omitempty"`
		LastMs  int64  `json:"lastUnixMs,omitempty"`
	}
	rows := []row{}
	add := func(name string, macs []string, b *intent.Boot, err error) {
		r := row{Name: name, MACs: strings.Join(macs, ",")}
		switch {
		case err != nil:
			r.From = err.Error()
		case b.LocalDisk:
			r.Release = "its own disk"
		case b.Release != nil:
			r.Release, r.From = b.Release.GetName(), b.ReleaseFrom
		}
		if e := last[name]; e != nil {
			r.Last, r.LastMs = stageName(e.GetStage())+" "+e.GetDetail(), e.GetUnixMs()
		}
		rows = append(rows, r)
		delete(last, name)
	}
	for _, m := range in.GetMachines() {
		b, err := index.Named(m.GetName())
		add(m.GetName(), m.GetMacs(), b, err)
	}
	var strangers []string
	for name := range last {
		strangers = append(strangers, name)
	}
	slices.Sort(strangers)
	for _, mac := range strangers {
		b, err := index.Resolve(intent.Identity{MAC: mac})
		add(mac, nil, b, err)
	}
	if json {
		return writeJSON(env.Stdout, rows)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tMAC\tRELEASE\tFROM\tLAST")
	for _, r := range rows {
		when := ""
		if r.LastMs != 0 {
			when = time.UnixMilli(r.LastMs).Format("01-02 15:04:05 ") + r.Last
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", progress.Clean(r.Name), progress.Clean(r.MACs), progress.Clean(r.Release), progress.Clean(r.From), progress.Clean(when))
	}
	return w.Flush()
}

func stageName(s kilnv1.BootStage) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "BOOT_STAGE_"))
}

func newMachine(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "machine", Short: "Look at a machine, and change it", Args: unknownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	one := between(1, 1, "the name of a machine")
	cmd.AddCommand(
		roomCommand(env, "show MACHINE", "Say what a machine boots, and why", "  kiln machine show web-1", one, func(ctx context.Context, room rooms, args []string) error {
			return showMachine(ctx, env, room, args[0])
		}),
		roomCommand(env, "boots MACHINE", "Say what a machine did lately", "  kiln machine boots web-1", one, func(ctx context.Context, room rooms, args []string) error {
			return room.Boots(ctx, args[0], false, bootPrinter(env))
		}),
		roomCommand(env, "boot-once MACHINE RELEASE", "Boot another release, the next time only", "  kiln machine boot-once web-1 rescue", between(2, 2, "a machine and a release"),
			func(ctx context.Context, room rooms, args []string) error {
				return changeMachine(ctx, room, args[0], func(m *kilnv1.Machine) { m.BootOnce = args[1] })
			}),
		roomCommand(env, "confirm MACHINE", "Say that what answers under its MAC is the machine, so that it may read its secrets", "  kiln machine confirm web-1", one,
			func(ctx context.Context, room rooms, args []string) error {
				return changeMachine(ctx, room, args[0], func(m *kilnv1.Machine) { m.Confirmed = true })
			}),
		roomCommand(env, "local-disk MACHINE on|off", "Boot a machine from its own disk, or from the network again", "  kiln machine local-disk web-1 on", between(2, 2, "a machine, and on or off"),
			func(ctx context.Context, room rooms, args []string) error {
				if args[1] != "on" && args[1] != "off" {
					return usagef("%q: it is on or off", args[1])
				}
				return changeMachine(ctx, room, args[0], func(m *kilnv1.Machine) { m.LocalDisk = args[1] == "on" })
			}),
		roomCommand(env, "forget MACHINE", "Take a machine out of the room", "  kiln machine forget web-1", one, func(ctx context.Context, room rooms, args []string) error {
			in, err := room.Intent(ctx)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(in.GetMachines(), func(m *kilnv1.Machine) bool { return m.GetName() == args[0] }) {
				return noMachine(args[0])
			}
			return changed(room.Change(ctx, &kilnv1.RoomCommand{Base: in.GetRevision(), RemoveMachines: args[:1]}, false))
		}),
	)
	return cmd
}

func noMachine(name string) error {
	return usagef("there is no machine called %q: kiln machines lists them", name)
}

// changed makes an error of problems.
func changed(problems []string, err error) error {
	if err == nil && len(problems) > 0 {
		err = usagef("%s", strings.Join(problems, "\n"))
	}
	return err
}

// changeMachine changes one machine. Its secrets, which are not shown to us, stay: an empty one is kept by who has it.
func changeMachine(ctx context.Context, room rooms, name string, change func(*kilnv1.Machine)) error {
	in, err := room.Intent(ctx)
	if err != nil {
		return err
	}
	for _, m := range in.GetMachines() {
		if m.GetName() == name {
			m = proto.CloneOf(m)
			change(m)
			return changed(room.Change(ctx, &kilnv1.RoomCommand{Base: in.GetRevision(), Machines: []*kilnv1.Machine{m}}, false))
		}
	}
	return noMachine(name)
}

func showMachine(ctx context.Context, env Env, room rooms, name string) error {
	in, err := room.Intent(ctx)
	if err != nil {
		return err
	}
	b, err := intent.NewIndex(in).Named(name)
	if b == nil {
		return usagef("%w", err)
	}
	m := proto.CloneOf(b.Machine)
	for key := range m.GetSecrets() {
		m.Secrets[key] = "(not shown)"
	}
	text, jsonErr := protojson.MarshalOptions{Multiline: true}.Marshal(m)
	if jsonErr != nil {
		return jsonErr
	}
	fmt.Fprintf(env.Stdout, "%s\ngroups   %s\n", text, strings.Join(b.Groups, ", "))
	switch {
	case b.LocalDisk:
		fmt.Fprintln(env.Stdout, "boots    from its own disk")
	case err != nil:
		fmt.Fprintf(env.Stdout, "boots    nothing: %v\n", err)
	default:
		fmt.Fprintf(env.Stdout, "boots    %s, which %s names\n", b.Release.GetName(), b.ReleaseFrom)
	}
	return nil
}

func newBoots(env Env) *cobra.Command {
	var follow bool
	cmd := roomCommand(env, "boots", "Say what machines do on their way", "  kiln boots -f", between(0, 0, "no argument"), func(ctx context.Context, room rooms, _ []string) error {
		return room.Boots(ctx, "", follow, bootPrinter(env))
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as it happens")
	return cmd
}

// bootPrinter prints events, one on a line.
func bootPrinter(env Env) func(*kilnv1.BootEvent) error {
	return func(e *kilnv1.BootEvent) error {
		name := e.GetMachine()
		if name == "" {
			name = e.GetMac()
		}
		_, err := fmt.Fprintf(env.Stdout, "%s  %-16s %-7s %s\n", time.UnixMilli(e.GetUnixMs()).Format("2006-01-02 15:04:05.000"), progress.Clean(name), stageName(e.GetStage()), progress.Clean(e.GetDetail()))
		return err
	}
}

func newRelease(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "release", Short: "Make and list what machines can boot", Args: unknownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var f farmFlags
	create := &cobra.Command{
		Use: "create NAME BUILD", Short: "Make a release of a build", Example: "  kiln release create v2 hello", Args: between(2, 2, "a name for the release, and a build"),
		RunE: func(cmd *cobra.Command, args []string) error {
			room, builds, err := openRooms(env, &f)
			if err != nil {
				return err
			}
			in, err := room.Intent(cmd.Context())
			if err != nil {
				return err
			}
			build, err := builds.find(cmd.Context(), args[1], "")
			if err != nil {
				return err
			}
			r := &kilnv1.Release{Name: args[0]}
			if err := releaseOf(cmd.Context(), builds, build, r); err != nil {
				return err
			}
			return changed(room.Change(cmd.Context(), &kilnv1.RoomCommand{Base: in.GetRevision(), Releases: []*kilnv1.Release{r}}, false))
		},
	}
	f.add(create.Flags())
	cmd.AddCommand(create, roomCommand(env, "ls", "List releases", "  kiln release ls", between(0, 0, "no argument"), func(ctx context.Context, room rooms, _ []string) error {
		in, err := room.Intent(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RELEASE\tPLATFORMS\tBUILD\tGROUPS")
		for _, r := range in.GetReleases() {
			var platforms, groups []string
			for p := range r.GetPlatforms() {
				platforms = append(platforms, p)
			}
			slices.Sort(platforms)
			for _, g := range in.GetGroups() {
				if g.GetRelease() == r.GetName() {
					groups = append(groups, g.GetName())
				}
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", progress.Clean(r.GetName()), strings.Join(platforms, ","), r.GetBuild(), progress.Clean(strings.Join(groups, ",")))
		}
		return w.Flush()
	}))
	return cmd
}

func newGroup(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "Look at groups of machines", Args: unknownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(roomCommand(env, "ls", "List groups and what they boot", "  kiln group ls", between(0, 0, "no argument"), func(ctx context.Context, room rooms, _ []string) error {
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
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", progress.Clean(g.GetName()), progress.Clean(strings.Join(labels, ",")), g.GetPriority(), progress.Clean(g.GetRelease()))
		}
		return w.Flush()
	}), roomCommand(env, "release GROUP RELEASE", "Let a group boot another release", "  kiln group release web v2", between(2, 2, "a group and a release"), func(ctx context.Context, room rooms, args []string) error {
		in, err := room.Intent(ctx)
		if err != nil {
			return err
		}
		for _, g := range in.GetGroups() {
			if g.GetName() == args[0] {
				g = proto.CloneOf(g)
				g.Release = args[1]
				return changed(room.Change(ctx, &kilnv1.RoomCommand{Base: in.GetRevision(), Groups: []*kilnv1.Group{g}}, false))
			}
		}
		return usagef("there is no group called %q: kiln group ls lists them", args[0])
	}))
	return cmd
}
