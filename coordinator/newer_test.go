package coordinator

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
	"google.golang.org/protobuf/proto"
)

// A program that is older than the log must not go on with a state that is not that of the others.
func TestACoordinatorOlderThanTheLogEnds(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	data, err := proto.Marshal(&kilnv1.Entry{Level: state.Level() + 1, Commands: []*kilnv1.Command{{}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.leading().coord.node.Apply(data, 10*time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	for id, m := range c.members {
		select {
		case <-m.coord.Failed():
			if got := m.coord.Fault().Error(); !strings.Contains(got, "install the release that the farm runs") {
				t.Errorf("coordinator %s ends with %q", id, got)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("coordinator %s goes on", id)
		}
		if err := m.coord.Ready(c.ctx()); err == nil {
			t.Errorf("coordinator %s is ready", id)
		}
		if _, err := m.coord.fsm.Snapshot(); err == nil {
			t.Errorf("coordinator %s keeps a snapshot of a state that is behind", id)
		}
	}
}

func TestAnOlderCoordinatorIsNotTakenIn(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	web := c.web(pki.RoleCoordinator, "old", "")
	_, err := kilnv1connect.NewAdminServiceClient(web, "https://"+c.leading().address).Announce(c.ctx(), connect.NewRequest(&kilnv1.AnnounceRequest{
		Member: &kilnv1.Member{Id: "old", Address: "127.0.0.1:1", Level: state.Level() - 1, Version: "0.1"}}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "coordinator old runs release 0.1, which is too old for this farm") {
		t.Errorf("got %v", err)
	}
}
