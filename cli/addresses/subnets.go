package addresses

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewSubnet(env ui.Env) *cobra.Command {
	return ui.Group("subnet", "List subnets and pools, and import them from another DHCP server", newSubnetLs(env), newSubnetShow(env), newSubnetImport(env))
}

// usage is how much of a subnet's pools is used.
type usage struct {
	Name      string   `json:"name"`
	Prefix    string   `json:"prefix"`
	Pools     []string `json:"pools"`
	Addresses *big.Int `json:"addresses"` // that pools have
	Bound     int      `json:"bound"`
	Declined  int      `json:"declined"`
	Reserved  int      `json:"reserved"` // of pools, for machines that do not hold them now
	Free      *big.Int `json:"free"`
	// Description is the subnet in the API's JSON; kiln subnet show has it.
	Description json.RawMessage `json:"description,omitempty"`
}

// usages counts what is bound now.
func usages(in *kilnv1.Intent, bindings []*kilnv1.BindingNow) []usage {
	networks := fleet.NetworksOf(in.GetSubnets())
	at := map[string]int{}
	pooled := map[string]fleet.Pooled{}
	held := map[string]map[netip.Addr]bool{}
	rows := []usage{}
	for _, s := range in.GetSubnets() {
		u := usage{Name: s.GetName(), Prefix: s.GetPrefix(), Pools: []string{}}
		for _, r := range s.GetPools() {
			u.Pools = append(u.Pools, fleet.RangeText(r))
		}
		for _, c := range s.GetClasses() {
			for _, r := range c.GetPools() {
				u.Pools = append(u.Pools, fleet.RangeText(r)+" ("+c.GetName()+")")
			}
		}
		pooled[s.GetName()], held[s.GetName()] = fleet.PooledOf(s), map[netip.Addr]bool{}
		u.Addresses = pooled[s.GetName()].Count()
		u.Free = new(big.Int).Set(u.Addresses)
		at[s.GetName()] = len(rows)
		rows = append(rows, u)
	}
	take := func(subnet string, a netip.Addr) bool {
		if !pooled[subnet].Has(a) || held[subnet][a] {
			return false
		}
		held[subnet][a] = true
		rows[at[subnet]].Free.Sub(rows[at[subnet]].Free, big.NewInt(1))
		return true
	}
	for _, b := range bindings {
		subnet := b.GetBinding().GetSubnet()
		a, err := netip.ParseAddr(b.GetBinding().GetAddress())
		if _, known := at[subnet]; !known || err != nil {
			continue
		}
		switch fleet.LeaseState(b) {
		case fleet.LeaseBound:
			rows[at[subnet]].Bound++
		case fleet.LeaseDeclined:
			rows[at[subnet]].Declined++
		case fleet.LeaseKept:
			rows[at[subnet]].Reserved++
		default:
			continue
		}
		take(subnet, a)
	}
	for _, m := range in.GetMachines() {
		for _, text := range []string{m.GetAddress(), m.GetAddress6()} {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				continue
			}
			if s := networks.Of(p.Addr()); s != nil && take(s.GetName(), p.Addr()) {
				rows[at[s.GetName()]].Reserved++
			}
		}
	}
	return rows
}

func askUsages(ctx context.Context, f *client.Farm, subnet string) (*kilnv1.Intent, []usage, error) {
	in, err := f.Intent(ctx)
	if err != nil {
		return nil, nil, err
	}
	bindings, err := f.Bindings(ctx, subnet)
	return in, usages(in, bindings), err
}

func newSubnetLs(env ui.Env) *cobra.Command {
	var asJSON bool
	cmd := access.Command(env, &cobra.Command{
		Use: "ls", Short: "List subnets and the usage of their pools", Example: "  kiln subnet ls --farm https://kiln1:7300\n  kiln subnet ls --json",
		Args: ui.Between(0, 0, "no argument"),
	}, func(ctx context.Context, f *client.Farm, _ []string) error {
		_, rows, err := askUsages(ctx, f, "")
		if err != nil {
			return err
		}
		if asJSON {
			return ui.WriteJSON(env.Stdout, rows)
		}
		w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SUBNET\tPREFIX\tADDRESSES\tBOUND\tDECLINED\tRESERVED\tFREE")
		for _, u := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", printable.Line(u.Name), u.Prefix, u.Addresses, u.Bound, u.Declined, u.Reserved, u.Free)
		}
		return w.Flush()
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSubnetShow(env ui.Env) *cobra.Command {
	var asJSON bool
	cmd := access.Command(env, &cobra.Command{
		Use: "show SUBNET", Short: "Show one subnet and the usage of its pools", Example: "  kiln subnet show rack-a",
		Args: ui.Between(1, 1, "the name of a subnet"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		in, rows, err := askUsages(ctx, f, args[0])
		if err != nil {
			return err
		}
		for i, s := range in.GetSubnets() {
			if s.GetName() == args[0] {
				return showSubnet(env, s, rows[i], asJSON)
			}
		}
		return noSubnet(args[0])
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func noSubnet(name string) error {
	return ui.Usagef("there is no subnet called %q: kiln subnet ls lists them", name)
}

func showSubnet(env ui.Env, s *kilnv1.Subnet, u usage, asJSON bool) error {
	if asJSON {
		text, err := protojson.Marshal(s)
		if err != nil {
			return err
		}
		u.Description = text
		return ui.WriteJSON(env.Stdout, u)
	}
	text, err := fleet.WriteYAML([]*kilnv1.Subnet{s}, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\naddresses  %s in pools\nbound      %d\ndeclined   %d\nreserved   %d for machines that do not hold them now\nfree       %s\n",
		text, u.Addresses, u.Bound, u.Declined, u.Reserved, u.Free)
	return err
}
