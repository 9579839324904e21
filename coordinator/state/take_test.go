package state

import (
	"bytes"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func takeCommand(machine, boot, document, request string) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Take{Take: &kilnv1.TakeCommand{Machine: machine, Boot: boot, Document: document, Request: request}}}
}

func TestSecretsAreTakenOnceInABoot(t *testing.T) {
	m := governed()
	for _, c := range []struct {
		name                             string
		machine, boot, document, request string
		refused                          Refusal
	}{
		{"the first", "a", "boot1", "user-data", "r1", ""},
		{"the same request again", "a", "boot1", "user-data", "r1", ""},
		{"another request", "a", "boot1", "user-data", "r2", RefusedTaken},
		{"another document", "a", "boot1", "ignition", "r3", ""},
		{"the next boot", "a", "boot2", "user-data", "r4", ""},
		{"the boot before again", "a", "boot1", "user-data", "r5", RefusedTaken},
		{"another machine", "b", "boot1", "user-data", "r6", ""},
		{"no boot", "a", "", "user-data", "r7", RefusedInvalid},
	} {
		if r := apply(m, 1, takeCommand(c.machine, c.boot, c.document, c.request)); r.Refused != c.refused {
			t.Errorf("%s: refused %q, want %q", c.name, r.Refused, c.refused)
		}
	}
	again, err := Restore(bytes.NewReader(snapshotOf(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotOf(t, again), snapshotOf(t, m)) {
		t.Error("what was taken is something else after a snapshot")
	}
	if r := apply(again, 1, takeCommand("a", "boot1", "user-data", "r8")); r.Refused != RefusedTaken {
		t.Errorf("after a snapshot: refused %q, want %q", r.Refused, RefusedTaken)
	}
}
