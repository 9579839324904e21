package progress

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// script is the story of a build: an event and the milliseconds since the first.
type script []struct {
	ms    int64
	event *kilnv1.BuildEvent
}

func state(s kilnv1.BuildState, text string) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_State{State: &kilnv1.StateChanged{State: s, Error: text}}}
}

func graph(labels ...string) *kilnv1.BuildEvent {
	kinds := slices.Repeat([]string{"initrd-part"}, len(labels))
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Graph{Graph: &kilnv1.GraphKnown{Labels: labels, Kinds: kinds}}}
}

func node(n uint32, s kilnv1.NodeState, took time.Duration, bytes int64, text string) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Node{Node: &kilnv1.NodeChanged{
		Node: n, State: s, DurationUs: took.Microseconds(), Bytes: bytes, Error: text}}}
}

func logged(n uint32, lines ...string) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Log{Log: &kilnv1.NodeLog{Node: n, Lines: lines}}}
}

func phase(of kilnv1.BuildState, lines ...string) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_PhaseLog{PhaseLog: &kilnv1.PhaseLog{Phase: of, Lines: lines}}}
}

const (
	running = kilnv1.NodeState_NODE_STATE_RUNNING
	done    = kilnv1.NodeState_NODE_STATE_DONE
	hit     = kilnv1.NodeState_NODE_STATE_HIT
	failed  = kilnv1.NodeState_NODE_STATE_FAILED
	retry   = kilnv1.NodeState_NODE_STATE_RETRY

	resolving = kilnv1.BuildState_BUILD_STATE_RESOLVING
	planning  = kilnv1.BuildState_BUILD_STATE_PLANNING
	working   = kilnv1.BuildState_BUILD_STATE_RUNNING
	ended     = kilnv1.BuildState_BUILD_STATE_DONE
	broken    = kilnv1.BuildState_BUILD_STATE_FAILED
	canceled  = kilnv1.BuildState_BUILD_STATE_CANCELED
)

var scripts = map[string]script{
	"some steps run and some are hits": {
		{0, state(resolving, "")}, {300, state(planning, "")}, {320, state(working, "")},
		{320, graph("unpack web", "unpack kernel", "initrd.img")},
		{330, node(0, hit, 0, 1<<20, "")}, {340, node(1, running, 0, 0, "")},
		{1200, logged(1, "halfway")}, {2600, node(1, done, 2260*time.Millisecond, 25<<20, "")},
		{2610, node(2, running, 0, 0, "")}, {65000, node(2, done, 62390*time.Millisecond, 3<<30, "")},
		{65010, state(ended, "")},
	},
	"a step fails while another runs": {
		{0, state(resolving, "")}, {100, state(planning, "")}, {110, state(working, "")},
		{110, graph("unpack web", "unpack kernel")},
		{120, node(0, running, 0, 0, "")}, {125, node(1, running, 0, 0, "")},
		{200, logged(0, "reading layer 1", "reading layer 2")},
		{400, node(0, failed, 280*time.Millisecond, 0, "layer 2 is corrupt")},
		{410, state(broken, "unpack web: layer 2 is corrupt")},
	},
	"resolving fails": {{0, state(resolving, "")}, {50, state(broken, "image x is not in registry y")}},
	"a registry asks for time": {
		{0, phase(planning, "too early")}, {0, state(resolving, "")}, {50, phase(resolving, "a layer was cut off")}, {100, phase(resolving, "waiting 60 s for registry r")},
		{60100, state(planning, "")}, {60110, phase(planning, "many references")}, {60120, phase(resolving, "too late")}, {60150, state(ended, "")},
	},
	"the user stops it": {
		{0, state(resolving, "")}, {10, state(planning, "")}, {20, state(working, "")}, {20, graph("unpack web")},
		{30, node(0, running, 0, 0, "")}, {900, state(canceled, "stopped by its user")},
	},
	"a step loses its builder": {
		{0, state(working, "")}, {0, graph("unpack web")}, {30, node(0, running, 0, 0, "")},
		{900, node(0, retry, 0, 0, "its builder went away")}, {950, node(0, running, 0, 0, "")},
		{1000, node(0, done, 50*time.Millisecond, 10, "")}, {1010, state(ended, "")},
	},
	"nothing had to run": {{0, state(resolving, "")}, {5, state(planning, "")}, {6, state(ended, "")}},
	"text from outside tries to write to the terminal": {
		{0, state(working, "")}, {0, graph("unpack \x1b[2J\x07web")}, {1, node(0, running, 0, 0, "")},
		{2, logged(0, "\x1b]0;title\x07line\r\n", "bad \xff byte")}, {3, node(0, failed, 0, 0, "a\nb")},
	},
	"events that make no sense are passed over": {
		{0, node(7, running, 0, 0, "")}, {0, logged(3, "x")}, {0, &kilnv1.BuildEvent{}}, {1, state(ended, "")},
	},
}

var zero = time.UnixMilli(1_700_000_000_000)

func TestPlain(t *testing.T) {
	for name, events := range scripts {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			p := NewPlain(&b)
			for _, e := range events {
				e.event.UnixMs = zero.UnixMilli() + e.ms
				p.Event(e.event)
			}
			var summary *Summary
			if p.track.Build == ended {
				summary = &Summary{Name: "hello", Took: 65200 * time.Millisecond, Files: []File{{"out/hello-kernel", 14200000}, {"out/hello-cmdline", 13}}}
			}
			p.Close(summary)
			golden(t, "plain", name, b.String())
		})
	}
}

func TestFrames(t *testing.T) {
	for name, events := range scripts {
		t.Run(name, func(t *testing.T) {
			var track Track
			var b strings.Builder
			for i, e := range events {
				at := zero.Add(time.Duration(e.ms) * time.Millisecond)
				track.Apply(e.event, at)
				if i%3 == 0 || i == len(events)-1 {
					b.WriteString(strings.Join(Frame(&track, Screen{Width: 60, Height: 8}, at.Add(150*time.Millisecond)), "\n") + "\n--\n")
				}
			}
			golden(t, "frames", name, b.String())
		})
	}
}

func TestEveryFrameFitsItsScreen(t *testing.T) {
	var track Track
	labels := make([]string, 200)
	for i := range labels {
		labels[i] = strings.Repeat("long label ", i%20)
	}
	track.Apply(graph(labels...), zero)
	for i := range labels {
		track.Apply(node(uint32(i), running, 0, 0, ""), zero)
		track.Apply(logged(uint32(i), "one", "two", "three"), zero)
		if i%3 == 0 {
			track.Apply(node(uint32(i), done, time.Second, int64(i)<<20, ""), zero)
		}
	}
	for _, width := range []int{1, 5, 20, 30, 80, 300} {
		for _, height := range []int{1, 2, 3, 10, 50, 1000} {
			lines := Frame(&track, Screen{Width: width, Height: height}, zero)
			if len(lines) > max(height-1, 2) {
				t.Errorf("%d×%d: %d lines", width, height, len(lines))
			}
			for _, line := range lines {
				if utf8.RuneCountInString(line) > width {
					t.Errorf("%d×%d: line %q is too wide", width, height, line)
				}
			}
		}
	}
}

func TestColoursEndWhereTheyBegin(t *testing.T) {
	var track Track
	track.Apply(graph("a", "b"), zero)
	track.Apply(node(0, hit, 0, 0, ""), zero)
	track.Apply(node(1, failed, 0, 0, "x"), zero)
	lines := Frame(&track, Screen{Width: 40, Height: 10, Color: true}, zero)
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "\x1b[3") || !strings.HasSuffix(line, normal) {
			t.Errorf("line %q", line)
		}
	}
	for _, line := range Frame(&track, Screen{Width: 40, Height: 10}, zero) {
		if strings.Contains(line, "\x1b") {
			t.Errorf("line %q has a colour on a screen without", line)
		}
	}
}

func TestJSONIsALineForEachEvent(t *testing.T) {
	var b bytes.Buffer
	j := NewJSON(&b)
	j.Event(state(resolving, ""))
	j.Event(node(3, hit, 0, 0, ""))
	j.Close(&Summary{})
	lines := strings.Split(strings.ReplaceAll(b.String(), " ", ""), "\n")
	want := []string{`{"state":{"state":"BUILD_STATE_RESOLVING"}}`, `{"node":{"node":3,"state":"NODE_STATE_HIT"}}`, ""}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestATerminalShowsTheLastFrameAndTheSummary(t *testing.T) {
	var b bytes.Buffer
	tty := NewTTY(&b, func() (int, int) { return 60, 10 }, false)
	tty.now = func() time.Time { return zero }
	for _, e := range scripts["some steps run and some are hits"] {
		tty.Event(e.event)
	}
	tty.Close(&Summary{Name: "hello", Took: time.Second})
	for _, want := range []string{"[+] Built", "CACHED unpack web", "hello: done in 1.0s, 2 steps ran"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the terminal lacks %q:\n%q", want, b.String())
		}
	}
}

func golden(t *testing.T, kind, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", kind, strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
