package addresses

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// namePublished is the state of a name that is in DNS.
const namePublished = "published"

// lease is a row of kiln leases.
type lease struct {
	Subnet    string `json:"subnet"`
	Address   string `json:"address"`
	MAC       string `json:"mac,omitempty"`
	Client    string `json:"client,omitempty"`
	Machine   string `json:"machine,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	State     string `json:"state"`
	Remaining int64  `json:"remainingSeconds"`
	Edge      string `json:"edge,omitempty"`
	Since     string `json:"since,omitempty"` // RFC 3339
	// DNS is what the address is called there; nothing: it has no name.
	DNS *leaseName `json:"dns,omitempty"`
}

// leaseName is a name in DNS.
type leaseName struct {
	Name  string `json:"name"`
	State string `json:"state"`         // published, waiting, refused by the server, taken by somebody else
	Why   string `json:"why,omitempty"` // it is not published
}

// text is the name for people.
func (n *leaseName) text() string {
	switch {
	case n == nil:
		return "-"
	case n.State == namePublished:
		return n.Name
	}
	return n.Name + " (" + n.State + ")"
}

func NewLeases(env ui.Env) *cobra.Command {
	var subnet string
	var all, asJSON bool
	cmd := access.Command(env, &cobra.Command{
		Use: "leases", Short: "List address leases",
		Example: "  kiln leases --farm https://kiln1:7300\n  kiln leases --subnet rack-a --all --json\n  kiln leases release 10.0.0.120", Args: ui.UnknownVerb,
	}, func(ctx context.Context, f *client.Farm, _ []string) error {
		in, err := f.Intent(ctx)
		if err != nil {
			return err
		}
		if subnet != "" && !slices.ContainsFunc(in.GetSubnets(), func(s *kilnv1.Subnet) bool { return s.GetName() == subnet }) {
			return noSubnet(subnet)
		}
		bindings, err := f.Bindings(ctx, subnet)
		if err != nil {
			return err
		}
		rows := leasesOf(in, bindings, all)
		if asJSON {
			return ui.WriteJSON(env.Stdout, rows)
		}
		return listLeases(env, rows)
	})
	cmd.Flags().StringVar(&subnet, "subnet", "", "only of this subnet")
	cmd.Flags().BoolVar(&all, "all", false, "also what has run out or was given back, and is remembered for its client")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(newLeasesRelease(env), newLeasesImport(env))
	return cmd
}

func leasesOf(in *kilnv1.Intent, bindings []*kilnv1.BindingNow, all bool) []lease {
	machines := map[string]string{}
	for _, m := range in.GetMachines() {
		for _, mac := range m.GetMacs() {
			machines[mac] = m.GetName()
		}
	}
	rows := []lease{}
	for _, b := range bindings {
		v := b.GetBinding()
		row := lease{Subnet: v.GetSubnet(), Address: v.GetAddress(), MAC: v.GetMac(), Client: v.GetClient(), Machine: machines[v.GetMac()], Hostname: v.GetHostname(),
			State: fleet.LeaseState(b), Remaining: max(0, b.GetRemainingMs()/1000), Edge: v.GetEdge()}
		if v.GetSinceUnixMs() != 0 {
			row.Since = time.UnixMilli(v.GetSinceUnixMs()).UTC().Format(time.RFC3339)
		}
		if b.GetName() != "" {
			state := strings.ToLower(strings.TrimPrefix(b.GetNameState().String(), "NAME_STATE_"))
			row.DNS = &leaseName{Name: b.GetName(), State: state, Why: b.GetNameWhy()}
		}
		if all || row.State == fleet.LeaseBound || row.State == fleet.LeaseDeclined || row.State == fleet.LeaseKept {
			rows = append(rows, row)
		}
	}
	return rows
}

func listLeases(env ui.Env, rows []lease) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	named := slices.ContainsFunc(rows, func(r lease) bool { return r.DNS != nil })
	head := "ADDRESS\tMAC\tMACHINE\tHOSTNAME\t"
	if named {
		head += "NAME\t"
	}
	fmt.Fprintln(w, head+"STATE\tREMAINING\tEDGE\tSUBNET")
	for _, r := range rows {
		who := r.MAC
		if who == "" {
			who = r.Client
		}
		remaining := "-"
		if r.Remaining > 0 {
			remaining = (time.Duration(r.Remaining) * time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t", r.Address, printable.Line(orDash(who)), printable.Line(orDash(r.Machine)), printable.Line(orDash(r.Hostname)))
		if named {
			fmt.Fprintf(w, "%s\t", printable.Line(r.DNS.text()))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.State, remaining, printable.Line(orDash(r.Edge)), printable.Line(r.Subnet))
	}
	return w.Flush()
}

// orDash keeps columns apart where there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newLeasesRelease(env ui.Env) *cobra.Command {
	var subnet string
	cmd := access.Command(env, &cobra.Command{
		Use: "release ADDRESS|MAC", Short: "Release the address of a machine that is gone",
		Long: `Make an address free before its lease has run out. The machine that has it is not told: release an address only when
the machine is off or has left, or two will have it. An address that a machine declined, or that is kept for one, is free then, too.`,
		Example: "  kiln leases release 10.0.0.120\n  kiln leases release --subnet rack-a 52:54:00:12:34:56",
		Args:    ui.Between(1, 1, "an address, or the MAC of a machine"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		bindings, err := f.Bindings(ctx, subnet)
		if err != nil {
			return err
		}
		b, err := toRelease(bindings, args[0])
		if err != nil {
			return err
		}
		if err := release(ctx, f, b); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s of %s is free again in subnet %s\n", b.GetAddress(), printable.Line(fleet.HolderOf(b)), printable.Line(b.GetSubnet()))
		return err
	})
	cmd.Flags().StringVar(&subnet, "subnet", "", "in this subnet, when a machine has addresses in several")
	return cmd
}

// release frees an address, unless it has been bound or renewed since it was looked at.
func release(ctx context.Context, f *client.Farm, b *kilnv1.Binding) error {
	c := &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_FREE, Subnet: b.GetSubnet(), Address: b.GetAddress(), Client: b.GetClient(), Mac: b.GetMac(), UntilMs: b.GetUntilMs()}
	_, err := f.Bind(ctx, []*kilnv1.BindCommand{c})
	if connect.CodeOf(err) == connect.CodeFailedPrecondition && b.GetState() == kilnv1.BindingState_BINDING_STATE_BOUND {
		c.Operation = kilnv1.BindCommand_OPERATION_RELEASE // a coordinator of an older release still runs
		_, err = f.Bind(ctx, []*kilnv1.BindCommand{c})
	}
	if err != nil {
		return err
	}
	now, err := f.Bindings(ctx, b.GetSubnet())
	if err != nil {
		return err
	}
	for _, n := range now {
		if n.GetBinding().GetAddress() == b.GetAddress() && n.GetBinding().GetMac() == b.GetMac() && n.GetRemainingMs() > 0 {
			return fmt.Errorf("%s was renewed in this moment by %s, so it is not off: switch it off and do it again", b.GetAddress(), fleet.HolderOf(n.GetBinding()))
		}
	}
	return nil
}

// toRelease finds the binding that an address or a MAC means.
func toRelease(bindings []*kilnv1.BindingNow, arg string) (*kilnv1.Binding, error) {
	address, err := netip.ParseAddr(arg)
	mac, macErr := fleet.MAC(arg)
	if err != nil && macErr != nil {
		return nil, ui.Usagef("%q is neither an address nor a MAC: write one like 10.0.0.120 or 52:54:00:12:34:56", arg)
	}
	var found []*kilnv1.Binding
	var subnets []string
	for _, b := range bindings {
		v := b.GetBinding()
		if err == nil && v.GetAddress() != address.String() || err != nil && v.GetMac() != mac {
			continue
		}
		switch fleet.LeaseState(b) {
		case fleet.LeaseBound, fleet.LeaseKept:
			found, subnets = append(found, v), append(subnets, v.GetSubnet())
		case fleet.LeaseDeclined:
			if err == nil { // by its MAC a machine means what it has
				found, subnets = append(found, v), append(subnets, v.GetSubnet())
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, ui.Usagef("nobody holds %s now: kiln leases lists who has which address", arg)
	case 1:
		return found[0], nil
	}
	return nil, ui.Usagef("%s is in the subnets %s: name one with --subnet", arg, strings.Join(subnets, " and "))
}
