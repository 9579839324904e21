package machines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func New(env ui.Env) *cobra.Command {
	var json bool
	cmd := roomCommand(env, "machines", "List machines: what they boot, and their last event", "  kiln machines", ui.Between(0, 0, "no argument"),
		func(ctx context.Context, room rooms, _ []string) error { return listMachines(ctx, env, room, json) })
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}

func listMachines(ctx context.Context, env ui.Env, room rooms, json bool) error {
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
	index := fleet.NewIndex(in)
	type row struct {
		Name    string `json:"name"`
		MACs    string `json:"macs"`
		Release string `json:"release"`
		From    string `json:"from"`
		Last    string `json:"last,omitempty"`
		LastMs  int64  `json:"lastUnixMs,omitempty"`
	}
	rows := []row{}
	add := func(name string, macs []string, b *fleet.Boot, err error) {
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
		b, err := index.Resolve(fleet.Identity{MAC: mac})
		add(mac, nil, b, err)
	}
	if json {
		return ui.WriteJSON(env.Stdout, rows)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tMAC\tRELEASE\tFROM\tLAST")
	for _, r := range rows {
		when := ""
		if r.LastMs != 0 {
			when = time.UnixMilli(r.LastMs).Format("01-02 15:04:05 ") + r.Last
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable.Line(r.Name), printable.Line(r.MACs), printable.Line(r.Release), printable.Line(r.From), printable.Line(when))
	}
	return w.Flush()
}

func NewMachine(env ui.Env) *cobra.Command {
	cmd := &cobra.Command{Use: "machine", Short: "Show or change one machine", Args: ui.UnknownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	one := ui.Between(1, 1, "the name of a machine")
	cmd.AddCommand(
		roomCommand(env, "show MACHINE", "Show what a machine boots, and why", "  kiln machine show web-1", one, func(ctx context.Context, room rooms, args []string) error {
			return showMachine(ctx, env, room, args[0])
		}),
		newBootsOf(env),
		roomCommand(env, "boot-once MACHINE RELEASE", "Boot another release, the next time only", "  kiln machine boot-once web-1 rescue", ui.Between(2, 2, "a machine and a release"),
			func(ctx context.Context, room rooms, args []string) error {
				return changeMachine(ctx, room, args[0], func(m *kilnv1.Machine) { m.BootOnce = args[1] })
			}),
		roomCommand(env, "confirm MACHINE", "Confirm that what answers under its MAC is the machine, so that it may read its secrets", "  kiln machine confirm web-1", one,
			func(ctx context.Context, room rooms, args []string) error {
				return changeMachine(ctx, room, args[0], func(m *kilnv1.Machine) { m.Confirmed = true })
			}),
		roomCommand(env, "local-disk MACHINE on|off", "Boot a machine from its own disk, or from the network again", "  kiln machine local-disk web-1 on", ui.Between(2, 2, "a machine, and on or off"),
			func(ctx context.Context, room rooms, args []string) error {
				if args[1] != "on" && args[1] != "off" {
					return ui.Usagef("%q: it is on or off", args[1])
				}
				return changeMachine(ctx, room, args[0], func(m *kilnv1.Machine) { m.LocalDisk = args[1] == "on" })
			}),
		roomCommand(env, "forget MACHINE", "Delete a machine", "  kiln machine forget web-1", one, func(ctx context.Context, room rooms, args []string) error {
			return changeOne(ctx, room, func(in *kilnv1.Intent) (*kilnv1.RoomCommand, error) {
				if !slices.ContainsFunc(in.GetMachines(), func(m *kilnv1.Machine) bool { return m.GetName() == args[0] }) {
					return nil, noMachine(args[0])
				}
				return &kilnv1.RoomCommand{RemoveMachines: args[:1]}, nil
			})
		}),
	)
	return cmd
}

func noMachine(name string) error {
	return ui.Usagef("there is no machine called %q: kiln machines lists them", name)
}

// changeTries is how often a change of one thing is tried while others change other things.
const changeTries = 5

// changeOne makes a change of what is there now, again when somebody else was faster.
func changeOne(ctx context.Context, room rooms, change func(in *kilnv1.Intent) (*kilnv1.RoomCommand, error)) error {
	for try := 1; ; try++ {
		in, err := room.Intent(ctx)
		if err != nil {
			return err
		}
		c, err := change(in)
		if err != nil {
			return err
		}
		c.Base = in.GetRevision()
		problems, err := room.Change(ctx, c, false)
		if errors.Is(err, errStale) && try < changeTries {
			continue
		}
		if err == nil && len(problems) > 0 {
			err = ui.Usagef("%s", strings.Join(problems, "\n"))
		}
		return err
	}
}

// changeMachine changes one machine. Its secrets, which are not shown to us, stay: an empty one is kept by who has it.
func changeMachine(ctx context.Context, room rooms, name string, change func(*kilnv1.Machine)) error {
	return changeOne(ctx, room, func(in *kilnv1.Intent) (*kilnv1.RoomCommand, error) {
		for _, m := range in.GetMachines() {
			if m.GetName() == name {
				m = proto.CloneOf(m)
				change(m)
				return &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{m}}, nil
			}
		}
		return nil, noMachine(name)
	})
}

func showMachine(ctx context.Context, env ui.Env, room rooms, name string) error {
	in, err := room.Intent(ctx)
	if err != nil {
		return err
	}
	b, err := fleet.NewIndex(in).Named(name)
	if b == nil {
		return ui.Usagef("%w", err)
	}
	m := proto.CloneOf(b.Machine)
	for key := range m.GetSecrets() {
		m.Secrets[key] = "(not shown)"
	}
	if err := printProto(env.Stdout, m, "  "); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "groups   %s\n", strings.Join(b.Groups, ", "))
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
