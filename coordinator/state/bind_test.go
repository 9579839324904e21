package state

import (
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestACallThatComesLateUndoesNoNewerBinding(t *testing.T) {
	const address, client = "10.1.0.10", "mac 52:54:00:00:00:01"
	command := func(op kilnv1.BindCommand_Operation, until int64) *kilnv1.Command {
		return &kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: op, Subnet: "a", Address: address, Client: client, ForMs: 1000, UntilMs: until}}}
	}
	for _, op := range []kilnv1.BindCommand_Operation{kilnv1.BindCommand_OPERATION_RELEASE, kilnv1.BindCommand_OPERATION_DECLINE} {
		m := governed()
		steady := int64(0)
		at := func(ms int64, c *kilnv1.Command) Result {
			steady += ms
			return m.Apply(&kilnv1.Entry{Level: Level(), SteadyMs: steady, Commands: []*kilnv1.Command{c}}).Results[0]
		}
		room := &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a", Prefix: "10.1.0.0/24", Pools: []*kilnv1.AddressRange{{From: address, To: address}}}}}
		if r := at(0, &kilnv1.Command{Command: &kilnv1.Command_Room{Room: room}}); r.Refused != "" {
			t.Fatal(r.Refused)
		}
		first := at(0, command(kilnv1.BindCommand_OPERATION_BIND, 0)).Binding.GetUntilMs()
		second := at(10, command(kilnv1.BindCommand_OPERATION_BIND, 0)).Binding.GetUntilMs()
		for _, c := range []struct {
			name  string
			until int64
			want  kilnv1.BindingState
		}{
			{"of the binding before", first, kilnv1.BindingState_BINDING_STATE_BOUND},
			{"of this one", second, map[kilnv1.BindCommand_Operation]kilnv1.BindingState{
				kilnv1.BindCommand_OPERATION_RELEASE: kilnv1.BindingState_BINDING_STATE_RELEASED, kilnv1.BindCommand_OPERATION_DECLINE: kilnv1.BindingState_BINDING_STATE_DECLINED}[op]},
		} {
			if r := at(1, command(op, c.until)); r.Refused != "" {
				t.Errorf("%s %s: %s", op, c.name, r.Refused)
			}
			if got := m.Bindings()[0].GetState(); got != c.want {
				t.Errorf("%s %s: got %s, want %s", op, c.name, got, c.want)
			}
		}
	}
}
