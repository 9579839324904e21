package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What differs between two intents makes the one of the other.
func TestADifferenceIsAChange(t *testing.T) {
	machine := func(name, mac string) *kilnv1.Machine { return &kilnv1.Machine{Name: name, Macs: []string{mac}} }
	empty := &kilnv1.Intent{Revision: 3, TokenKey: []byte("key")}
	some := &kilnv1.Intent{
		Machines: []*kilnv1.Machine{machine("a", "52:54:00:00:00:01"), machine("b", "52:54:00:00:00:02")},
		Groups:   []*kilnv1.Group{{Name: "g", Release: "r"}},
		Releases: []*kilnv1.Release{{Name: "r"}},
		Subnets:  []*kilnv1.Subnet{{Name: "s", Prefix: "10.0.0.0/24"}},
	}
	other := &kilnv1.Intent{
		Machines: []*kilnv1.Machine{machine("b", "52:54:00:00:00:03"), machine("c", "52:54:00:00:00:01")},
		Groups:   []*kilnv1.Group{{Name: "g", Release: "q"}, {Name: "h"}},
		Releases: []*kilnv1.Release{{Name: "q"}},
	}
	all := []*kilnv1.Intent{empty, some, other}
	for i, now := range all {
		for j, next := range all {
			before := proto.CloneOf(now)
			got := Apply(now, Difference(now, next))
			want := proto.CloneOf(next)
			want.Revision, want.TokenKey = now.GetRevision()+1, now.GetTokenKey()
			if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreDefaultScalars()); diff != "" {
				t.Errorf("from %d to %d (-want +got):\n%s", i, j, diff)
			}
			if !proto.Equal(before, now) {
				t.Errorf("from %d to %d: the intent itself was changed", i, j)
			}
		}
	}
	c := Difference(some, some)
	if !proto.Equal(c, &kilnv1.RoomCommand{}) {
		t.Errorf("an intent differs from itself in %v", c)
	}
}

func TestWhatIsRemovedAndPutStays(t *testing.T) {
	now := &kilnv1.Intent{Machines: []*kilnv1.Machine{{Name: "b"}, {Name: "a"}}}
	got := Apply(now, &kilnv1.RoomCommand{RemoveMachines: []string{"a", "gone"}, Machines: []*kilnv1.Machine{{Name: "a", Confirmed: true}}})
	if m := got.GetMachines(); len(m) != 2 || m[0].GetName() != "a" || !m[0].GetConfirmed() || m[1].GetName() != "b" {
		t.Errorf("machines %v", m)
	}
}
