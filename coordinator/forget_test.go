package coordinator

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/coordinator/forget"
	"github.com/kiln-farm/kiln/coordinator/lead"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Somebody makes hardware addresses up until a subnet of IPv6 takes no more. When their time is over they are forgotten, and machines
// get addresses again.
func TestASubnetOfIPv6ThatIsFull(t *testing.T) {
	f := newFarm(t, t.TempDir())
	change := &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "rack", Prefix: "fd00::/64", Pools: []*kilnv1.AddressRange{{From: "fd00::1:0:0:0", To: "fd00::1:ffff:ffff:ffff"}}}}}
	f.wait("the level is raised", func() bool {
		_, err := f.room().Change(f.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: change}))
		return err == nil
	})
	address := netip.MustParseAddr("fd00::1:0:0:0")
	const hour = int64(time.Hour / time.Millisecond)
	for i := 0; i < state.MaxBindings6; i += maxBinds {
		var batch []*kilnv1.BindCommand
		for j := range min(maxBinds, state.MaxBindings6-i) {
			life := int64(1)
			if i == 0 {
				life = hour
			}
			batch = append(batch, bindOf(fmt.Sprint(i+j), address.String(), life))
			address = address.Next()
		}
		for _, r := range f.bind(batch...) {
			if r.GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_DONE {
				t.Fatal(r)
			}
		}
	}
	one := bindOf("02:00:00:00:00:01", "fd00::1:ffff:0:0", hour)
	if got := f.bind(one)[0].GetVerdict(); got != kilnv1.BindVerdict_BIND_VERDICT_FULL {
		t.Errorf("one more: %s", got)
	}
	l, err := (&room{f.coord}).leading(f.ctx())
	if err != nil {
		t.Fatal(err)
	}
	lead.Of[*forget.Duty](l.Leader).ForgetOver(f.ctx())
	n := 0
	l.View(func(m *state.Machine) { n = len(m.Bindings()) })
	if n > state.MaxBindings6/2 || n < state.MaxBindings6/2-1 {
		t.Errorf("%d bindings are left, want about half", n)
	}
	if got := f.bind(one, bindOf("7", "fd00::1:0:0:7", hour)); got[0].GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_DONE || got[1].GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_DONE {
		t.Errorf("then: %v", got)
	}
}
