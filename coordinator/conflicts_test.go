package coordinator

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestAFixedAddressThatAnotherHasIsRefused(t *testing.T) {
	f := newFarm(t, "")
	room := f.room()
	subnet := &kilnv1.Subnet{Name: "rack-a", Prefix: "10.0.0.0/24", Pools: []*kilnv1.AddressRange{{From: "10.0.0.100", To: "10.0.0.199"}}}
	f.wait("the level lets subnets be written", func() bool {
		_, err := room.Change(f.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{subnet}}}))
		return err == nil
	})
	bind := func(op kilnv1.BindCommand_Operation) {
		t.Helper()
		res, err := room.Bind(f.ctx(), connect.NewRequest(&kilnv1.BindRequest{Commands: []*kilnv1.BindCommand{{
			Operation: op, Subnet: "rack-a", Address: "10.0.0.120", Client: "mac 52:54:00:aa:bb:cc", Mac: "52:54:00:aa:bb:cc", Hostname: "old\n", ForMs: 3_600_000,
		}}}))
		if err != nil || res.Msg.GetResults()[0].GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_DONE {
			t.Fatalf("bind: %v, %v", res, err)
		}
	}
	change := func(base uint64, dry bool, c *kilnv1.RoomCommand) *kilnv1.ChangeResponse {
		t.Helper()
		c.Base = base
		res, err := room.Change(f.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: c, DryRun: dry}))
		if err != nil {
			t.Fatal(err)
		}
		return res.Msg
	}
	bind(kilnv1.BindCommand_OPERATION_BIND)
	fixed := &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "web-1", Macs: []string{"52:54:00:00:00:01"}, Address: "10.0.0.120/24"}}}
	for _, dry := range []bool{true, false} {
		res := change(1, dry, fixed)
		got := strings.Join(res.GetProblems(), "\n")
		for _, want := range []string{"machine web-1: its address 10.0.0.120 is bound to 52:54:00:aa:bb:cc (\"old\\n\") for another ", " UTC; release it with \"kiln leases release 10.0.0.120\""} {
			if !strings.Contains(got, want) || res.GetRevision() != 1 {
				t.Errorf("dry run %v: revision %d, %q has no %q", dry, res.GetRevision(), got, want)
			}
		}
	}
	other := &kilnv1.RoomCommand{RemoveSubnets: []string{"rack-a"}, Subnets: []*kilnv1.Subnet{{Name: "rack-b", Prefix: "10.0.0.0/16"}}}
	if got := strings.Join(change(1, false, other).GetProblems(), "\n"); !strings.Contains(got, "subnet rack-b: it would take over addresses that are bound in subnet rack-a (1, such as 10.0.0.120 of 52:54:00:aa:bb:cc") {
		t.Errorf("another name for the subnet: %q", got)
	}
	bind(kilnv1.BindCommand_OPERATION_RELEASE)
	if res := change(1, false, fixed); len(res.GetProblems()) > 0 || res.GetRevision() != 2 {
		t.Errorf("after the release: %v", res)
	}
}
