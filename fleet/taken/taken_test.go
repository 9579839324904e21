package taken

import (
	"fmt"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestWhatIsRememberedOfAMachineIsBounded(t *testing.T) {
	var before *kilnv1.SnapshotTaken
	for i := range 3 * most {
		var fresh bool
		c := &kilnv1.TakeCommand{Machine: "a", Boot: fmt.Sprint("boot", i), Document: "user-data", Request: "r"}
		if before, fresh = Take(before, c, int64(i)); !fresh {
			t.Fatalf("boot %d is not fresh", i)
		}
	}
	if got := len(before.GetTaken()); got != most {
		t.Errorf("%d documents are remembered, want %d", got, most)
	}
	late := &kilnv1.TakeCommand{Machine: "a", Boot: "late", Document: "user-data", Request: "r"}
	if before, _ = Take(before, late, 3*most+Life); len(before.GetTaken()) != 1 {
		t.Errorf("%d documents are remembered a day later, want 1", len(before.GetTaken()))
	}
}
