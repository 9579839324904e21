package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) int64 { return at.Add(-d).UnixMilli() }

const (
	idA = "01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11"
	idB = "01938c5e-8000-7bb1-9f5d-0c7a4c7f2f22"
)

func record() *kilnv1.BuildRecord {
	return &kilnv1.BuildRecord{
		Spec: &kilnv1.BuildSpec{
			Id: idA, Team: "web", Name: "gateway", User: "ci@runner-3", Platforms: []string{"linux/amd64", "linux/arm64"},
			Formats: []string{"kernel+initrd", "tar"}, Priority: 5, Detached: true, ResourceClass: "big",
		},
		State: kilnv1.BuildState_BUILD_STATE_FAILED, Error: "services/web: exit code 2\x1b[31m",
		SubmittedUnixMs: ago(3 * time.Hour), FinishedUnixMs: ago(3*time.Hour - 72*time.Second),
		Nodes: []*kilnv1.NodeRecord{
			{Label: "init", Hit: true, Outputs: []*kilnv1.Output{{Name: "x"}}},
			{Label: "services/web", Builder: "b2"},
			{Label: "services/db", Builder: "b1", DurationUs: 2_345_678, Outputs: []*kilnv1.Output{{Name: "x"}}},
		},
		Outputs: []*kilnv1.BuildOutput{
			{Platform: "linux/amd64", File: "-kernel", Size: 14 << 20, Digest: "sha256:ab"},
			{Platform: "linux/amd64", File: "-cmdline"},
		},
	}
}

func status() *kilnv1.StatusResponse {
	member := func(id, address string, leader, voter, alive bool, silent int64) *kilnv1.MemberStatus {
		return &kilnv1.MemberStatus{Member: &kilnv1.Member{Id: id, Address: address, Version: "v0.3.0", Level: 2},
			Leader: leader, Voter: voter, Alive: alive, SilentMs: silent}
	}
	return &kilnv1.StatusResponse{
		Farm: "lab", Version: "v0.3.0", Leader: "c1", Builds: 3, Ready: 1234, Leased: 9, Level: 2, Epoch: 1,
		Store: "s3://kiln/farm?endpoint=https://s3.lab:9000",
		Members: []*kilnv1.MemberStatus{
			member("c2", "10.0.0.2:7300", false, true, true, 0),
			member("c1", "10.0.0.1:7300", true, true, true, 0),
			member("c3", "10.0.0.3:7300", false, true, false, 95_000),
			member("c4", "10.0.0.4:7300", false, false, true, 0),
		},
		Workers: []*kilnv1.BuilderStatus{
			{Id: "b1", Version: "v0.3.0", Platforms: []string{"linux/amd64", "linux/arm64"}, Slots: 8, Leased: 3, Done: 1203, Classes: []string{"big"}},
			{Id: "b2", Version: "v0.3.0", Platforms: []string{"linux/amd64"}, Slots: 4, Hold: "kernel upgrade", Done: 7, Failed: 2},
			{Id: "b3", Version: "v0.2.0", Platforms: []string{"linux/amd64"}, Slots: 64, Leased: 64, SilentMs: 12_000},
			{Id: "b4", Version: "v0.3.0", Slots: 2},
		},
		Teams: []*kilnv1.TeamStatus{
			{Team: &kilnv1.Team{Name: "web", Weight: 300, MaxLeases: 20, MaxBuilds: 1}, Builds: 2, Ready: 1200, Leased: 9},
			{Team: &kilnv1.Team{Name: "default", Weight: 100}, Builds: 1, Ready: 34},
		},
	}
}

func lostMajority() *kilnv1.StatusResponse {
	s := status()
	s.Members = s.Members[:3]
	s.Workers, s.Teams, s.Store = nil, nil, ""
	return s
}

func TestPagesLookAsTheyShould(t *testing.T) {
	time.Local = time.UTC
	build := BuildOf(record())
	done := build
	done.ID, done.Name, done.State, done.state = idB, "edge", "done", kilnv1.BuildState_BUILD_STATE_DONE
	done.Submitted, done.Finished, done.User = ago(26*time.Hour), ago(26*time.Hour-400*time.Millisecond), ""
	queue := &kilnv1.QueueResponse{Total: 61, Steps: []*kilnv1.QueuedStep{
		{Label: "services/web", Platform: "linux/arm64", Team: "web", Build: idA, Name: "gateway", Builds: 3, Priority: 10, WaitsMs: 754_000,
			Reason: "no builder for linux/arm64 is alive"},
		{Label: "plan", Team: "default", Build: idB, Name: "edge", Builds: 1, WaitsMs: 1200, Reason: "all 12 slots are taken"},
	}}
	for name, got := range map[string][]string{
		"builds":                    Builds([]Build{build, done}, Style{}, at),
		"build":                     BuildPage(record(), Style{}, at),
		"queue":                     Queue(queue, Style{}),
		"an-empty-queue":            Queue(&kilnv1.QueueResponse{}, Style{}),
		"status":                    Status(status(), Style{}),
		"status-in-colours":         Status(status(), Style{Color: true}),
		"status-of-two-of-three":    Status(lostMajority(), Style{}),
		"status-of-a-single-server": Status(&kilnv1.StatusResponse{Version: "v0.3.0", Leader: "1", Builders: []string{"here"}}, Style{}),
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.ReplaceAll(strings.Join(got, "\n")+"\n", "\x1b", "␛")
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpansAreShort(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"},
		{59 * time.Second, "59s"},
		{61 * time.Second, "1m 01s"},
		{3*time.Hour + 5*time.Minute, "3h 05m"},
		{50 * time.Hour, "2d 2h"},
	} {
		if got := Span(c.d); got != c.want {
			t.Errorf("Span(%s) = %q, want %q", c.d, got, c.want)
		}
	}
}

func TestAStepIsChosenByItsLabelOrAPartOfIt(t *testing.T) {
	all := []string{"services/web", "services/web-admin", "init"}
	for _, c := range []struct {
		step, label string
		want        bool
	}{
		{"", "init", true},
		{"services/web", "services/web", true},
		{"services/web", "services/web-admin", false}, // there is one of exactly that label
		{"web", "services/web-admin", true},
		{"web", "init", false},
	} {
		l := Logs{Step: c.step}
		if got := l.Wants(c.label, all); got != c.want {
			t.Errorf("--step %q wants %q: %v, want %v", c.step, c.label, got, c.want)
		}
	}
}

func TestALogLineCarriesNothingThatATerminalObeys(t *testing.T) {
	l := Logs{}
	if got, want := l.Line("web\x1b[2J", "\x1b]0;title\x07done\r"), "web?[2J | ?]0;title?done"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
}
