package state

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func apply(m *Machine, now int64, c *kilnv1.Command) Result {
	return m.Apply(&kilnv1.Entry{Level: LevelOf(c), UnixMs: now, Commands: []*kilnv1.Command{c}}).Results[0]
}

func memberCommand(id, address string, level uint32) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: &kilnv1.Member{Id: id, Address: address, Level: level}}}}
}

func levelCommand(level uint32) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: level}}}
}

func teamCommand(name string, weight uint32) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Team{Team: &kilnv1.TeamCommand{Team: &kilnv1.Team{Name: name, Weight: weight}}}}
}

func holdCommand(builder string, until int64) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Hold{Hold: &kilnv1.HoldCommand{Builder: builder, Reason: "drained", Until: until}}}
}

func TestANewKindOfCommandWaitsForTheOldestMember(t *testing.T) {
	m := New()
	for _, step := range []struct {
		what string
		c    *kilnv1.Command
		want Refusal
	}{
		{"a new member", memberCommand("a", "h1:7300", 2), ""},
		{"an old member beside it", memberCommand("b", "h2:7300", 1), ""},
		{"a team while one is old", teamCommand("t", 100), RefusedLevel},
		{"a level that one cannot apply", levelCommand(2), RefusedInvalid},
		{"the old member upgraded", memberCommand("b", "h2:7300", 2), ""},
		{"the level then", levelCommand(2), ""},
		{"the same level again", levelCommand(2), RefusedInvalid},
		{"a team then", teamCommand("t", 100), ""},
		{"an old member that comes now", memberCommand("c", "h3:7300", 1), RefusedOld},
	} {
		if got := apply(m, 0, step.c).Refused; got != step.want {
			t.Errorf("%s: refused %q, want %q", step.what, got, step.want)
		}
	}
}

func TestAMemberAtAnothersAddressTakesItsPlace(t *testing.T) {
	m := New()
	apply(m, 0, memberCommand("lost", "h1:7300", 2))
	apply(m, 0, memberCommand("other", "h2:7300", 2))
	apply(m, 0, memberCommand("new", "h1:7300", 2))
	var ids []string
	for _, member := range m.Members() {
		ids = append(ids, member.GetId())
	}
	if got := strings.Join(ids, " "); got != "new other" {
		t.Errorf("members %q, want %q", got, "new other")
	}
}

func TestAHoldEndsByItself(t *testing.T) {
	m := governed()
	apply(m, 1000, holdCommand("b1", 2000))
	apply(m, 1000, holdCommand("b2", 0))
	if m.BuilderHold("b1") == nil || m.BuilderHold("b2") == nil || m.BuilderHold("b3") != nil {
		t.Error("held at once: want b1 and b2")
	}
	m.Apply(&kilnv1.Entry{UnixMs: 2000})
	if m.BuilderHold("b1") != nil || m.BuilderHold("b2") == nil {
		t.Error("held after the time: want b2 alone")
	}
}

func TestWhatOperatorsSaidSurvivesASnapshot(t *testing.T) {
	m := governed()
	apply(m, 5, teamCommand("red", 7))
	apply(m, 5, holdCommand("b", 0))
	again, err := Restore(bytes.NewReader(snapshotOf(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if w := again.Team("red").GetWeight(); w != 7 {
		t.Errorf("weight %d, want 7", w)
	}
	if w := again.Team("blue").GetWeight(); w != defaultWeight {
		t.Errorf("weight of a team without a record %d, want %d", w, defaultWeight)
	}
	if again.BuilderHold("b") == nil || again.FeatureLevel() != newestLevel || again.Member("a") == nil {
		t.Error("a hold, the level or a member was lost")
	}
	if !bytes.Equal(snapshotOf(t, again), snapshotOf(t, m)) {
		t.Error("the snapshots differ")
	}
}

func TestASnapshotOfANewerFarmIsRefused(t *testing.T) {
	m := governed()
	m.level = newestLevel + 1
	_, err := Restore(bytes.NewReader(snapshotOf(t, m)))
	if !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), "install the release") {
		t.Errorf("error %v", err)
	}
}

// governed is a farm of one member at the newest level.
func governed() *Machine {
	m := New()
	apply(m, 0, memberCommand("a", "h1:7300", newestLevel))
	apply(m, 0, levelCommand(newestLevel))
	return m
}
