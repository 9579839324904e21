package builder

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
)

func TestLogLinesArriveNumberedAndAreStored(t *testing.T) {
	lines := []string{"first", "", "bad \xff byte", strings.Repeat("é", logLine), "last"}
	f := start(t, func(_ context.Context, req *step.Request) (*step.Response, error) {
		for _, l := range lines {
			req.Log(l)
		}
		return &step.Response{}, nil
	}, nil)
	f.grant(1)
	report := next(t, f.leader.reports, "completion")
	var got []string
	for sequence := uint64(0); len(got) < len(lines); sequence++ {
		chunk := next(t, f.leader.logs, "log lines")
		if chunk.GetSequence() != sequence || chunk.GetNumber() != 1 || chunk.GetTask() != report.GetTask() {
			t.Fatalf("chunk %d of lease %d, want %d of 1", chunk.GetSequence(), chunk.GetNumber(), sequence)
		}
		got = append(got, chunk.GetLines()...)
	}
	if got[0] != "first" || got[1] != "" || got[2] != "bad \uFFFD byte" || !strings.HasSuffix(got[3], "(cut)") || got[4] != "last" {
		t.Errorf("got %.40q", got)
	}
	if stored := f.read(t, report.GetLog()); stored != strings.Join(got, "\n")+"\n" {
		t.Errorf("stored %.60q", stored)
	}
}

func TestAFloodOfLinesIsBoundedInEachMessageAndWhole(t *testing.T) {
	const empty = 400_000 // one byte each: what counts is that there are many
	f := start(t, func(_ context.Context, req *step.Request) (*step.Response, error) {
		req.Log(strings.Repeat("\n", empty) + "end of the empty")
		long := strings.Repeat("x", 4000)
		for range logMost/len(long) + 100 {
			req.Log(long)
		}
		return &step.Response{}, nil
	}, nil)
	f.grant(1)
	report := next(t, f.leader.reports, "completion")
	for sequence := uint64(0); ; sequence++ {
		chunk := next(t, f.leader.logs, "log lines")
		if chunk.GetSequence() != sequence {
			t.Fatalf("got chunk %d, want %d: one was too large to be sent", chunk.GetSequence(), sequence)
		}
		size := 0
		for _, l := range chunk.GetLines() {
			size += len(l) + 2
		}
		if size > 64<<10 {
			t.Fatalf("a message with %d bytes of lines", size)
		}
		if len(chunk.GetLines()) > 0 && strings.HasPrefix(chunk.GetLines()[len(chunk.GetLines())-1], "xxx") {
			break
		}
	}
	stored := f.read(t, report.GetLog())
	if len(stored) > logMost+logLine || !strings.HasSuffix(stored, "(the log is cut here)\n") {
		t.Errorf("the stored log has %d bytes and ends in %q", len(stored), stored[len(stored)-30:])
	}
}

func TestAStepThatSaysNothingHasNoLog(t *testing.T) {
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) { return &step.Response{}, nil }, nil)
	f.grant(1)
	if got := next(t, f.leader.reports, "completion").GetLog(); got != "" {
		t.Errorf("got %s", got)
	}
}

// read is a blob as text.
func (f *fixture) read(t *testing.T, digest string) string {
	t.Helper()
	d, err := cache.ParseDigest(digest)
	check(t, err)
	file, err := f.store.Open(context.Background(), d)
	check(t, err)
	defer file.Close()
	raw, err := io.ReadAll(file)
	check(t, err)
	return string(raw)
}
