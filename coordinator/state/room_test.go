package state

import (
	"bytes"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func roomCommand(base uint64, names ...string) *kilnv1.Command {
	c := &kilnv1.RoomCommand{Base: base, TokenKey: bytes.Repeat([]byte{byte(base)}, tokenKeyLen)}
	for _, n := range names {
		c.Machines = append(c.Machines, &kilnv1.Machine{Name: n, Macs: []string{"mac of " + n}})
	}
	return &kilnv1.Command{Command: &kilnv1.Command_Room{Room: c}}
}

func TestChangesOfTheRoomBuildOnEachOther(t *testing.T) {
	m := governed()
	for _, c := range []struct {
		name    string
		command *kilnv1.Command
		refused Refusal
		want    int // machines
	}{
		{"the first", roomCommand(0, "a", "b"), "", 2},
		{"one that does not know the first", roomCommand(0, "c"), RefusedStale, 2},
		{"the second", roomCommand(1, "b", "c"), "", 3},
		{"a machine without a name", roomCommand(2, ""), RefusedInvalid, 3},
		{"a key of another length", &kilnv1.Command{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Base: 2, TokenKey: []byte{1}}}}, RefusedInvalid, 3},
		{"one that removes", &kilnv1.Command{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Base: 2, RemoveMachines: []string{"a", "nobody"}}}}, "", 2},
	} {
		if r := apply(m, 1, c.command); r.Refused != c.refused {
			t.Errorf("%s: refused %q, want %q", c.name, r.Refused, c.refused)
		}
		if got := len(m.Intent().GetMachines()); got != c.want {
			t.Errorf("%s: %d machines, want %d", c.name, got, c.want)
		}
	}
	intent := m.Intent()
	if intent.GetRevision() != 3 || !bytes.Equal(intent.GetTokenKey(), make([]byte, tokenKeyLen)) {
		t.Errorf("revision %d, key %x: the first key stays", intent.GetRevision(), intent.GetTokenKey())
	}
	again, err := Restore(bytes.NewReader(snapshotOf(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotOf(t, again), snapshotOf(t, m)) || len(again.Intent().GetMachines()) != 2 {
		t.Error("the room is another one after a snapshot")
	}
}

// A snapshot that is being written does not see what comes after it.
func TestASnapshotKeepsItsRoom(t *testing.T) {
	m := governed()
	apply(m, 1, roomCommand(0, "a"))
	before := snapshotOf(t, m)
	s := m.Snapshot()
	apply(m, 1, roomCommand(1, "b"))
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), before) {
		t.Error("a later change is in the snapshot")
	}
}
