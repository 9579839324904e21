package addresses

import (
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// rehearsal answers as a farm with this room and these bindings would: the same rules, in this process.
func rehearsal(in *kilnv1.Intent, bindings []*kilnv1.BindingNow) func([]*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) {
	m := state.New()
	do := func(c *kilnv1.Command) state.Result {
		return m.Apply(&kilnv1.Entry{Level: state.LevelOf(c), Commands: []*kilnv1.Command{c}}).Results[0]
	}
	bind := func(c *kilnv1.BindCommand) state.Result {
		return do(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: c}})
	}
	do(&kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: &kilnv1.Member{Id: "a", Address: "a", Level: state.Level()}}}})
	do(&kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: state.Level()}}})
	do(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Machines: in.GetMachines(), Subnets: in.GetSubnets()}}})
	for _, b := range bindings {
		v := b.GetBinding()
		c := &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_BIND, Subnet: v.GetSubnet(), Address: v.GetAddress(), Client: v.GetClient(), Mac: v.GetMac(), ForMs: b.GetRemainingMs()}
		switch fleet.LeaseState(b) {
		case fleet.LeaseBound, fleet.LeaseKept:
			bind(c)
		case fleet.LeaseDeclined:
			c.Client = "nobody"
			bind(c)
			c.Operation = kilnv1.BindCommand_OPERATION_DECLINE
			bind(c)
		}
	}
	verdicts := map[state.Refusal]kilnv1.BindVerdict{
		"": kilnv1.BindVerdict_BIND_VERDICT_DONE, state.RefusedBound: kilnv1.BindVerdict_BIND_VERDICT_TAKEN,
		state.RefusedElsewhere: kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE, state.RefusedOutside: kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE,
	}
	return func(commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) {
		var out []*kilnv1.BindResult
		for _, c := range commands {
			r := bind(c)
			out = append(out, &kilnv1.BindResult{Verdict: verdicts[r.Refused], Address: r.Binding.GetAddress()})
		}
		return out, nil
	}
}
