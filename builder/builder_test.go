package builder

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestHowAStepEndsDecidesItsClass(t *testing.T) {
	gone := cache.SumBytes([]byte("gone"))
	cases := []struct {
		name    string
		run     runner
		want    kilnv1.Completion
		error   string // part of it
		missing string
	}{
		{"a step that ends well is done",
			func(context.Context, *step.Request) (*step.Response, error) { return &step.Response{}, nil },
			kilnv1.Completion_COMPLETION_DONE, "", ""},
		{"a failure is the step's own fault, with its sentence",
			func(context.Context, *step.Request) (*step.Response, error) {
				return nil, fmt.Errorf("layer 0: %w", step.Failf("it is no tar; push the image again"))
			},
			kilnv1.Completion_COMPLETION_FAILED, "layer 0: it is no tar; push the image again", ""},
		{"a blob that went away while the step ran is missing",
			func(context.Context, *step.Request) (*step.Response, error) {
				return nil, fmt.Errorf("read a body: %w", &step.MissingBlob{Digest: gone})
			},
			kilnv1.Completion_COMPLETION_INPUT_MISSING, gone.String(), gone.String()},
		{"any other error is the builder's",
			func(context.Context, *step.Request) (*step.Response, error) {
				return nil, errors.New("no space left on device")
			},
			kilnv1.Completion_COMPLETION_INFRA, "no space left on device", ""},
		{"a panic is the builder's and kills nothing",
			func(context.Context, *step.Request) (*step.Response, error) { panic("index out of range") },
			kilnv1.Completion_COMPLETION_INFRA, "index out of range", ""},
		{"a network that times out is not a step that took too long",
			func(context.Context, *step.Request) (*step.Response, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
			},
			kilnv1.Completion_COMPLETION_INFRA, "dial tcp", ""},
		{"a name that is no UTF-8 can be reported",
			func(context.Context, *step.Request) (*step.Response, error) {
				return nil, step.Failf("file bad\xffname is a link to nowhere")
			},
			kilnv1.Completion_COMPLETION_FAILED, "is a link to nowhere", ""},
		{"a long error is cut between characters",
			func(context.Context, *step.Request) (*step.Response, error) {
				return nil, step.Failf("x%s", strings.Repeat("é", maxError))
			},
			kilnv1.Completion_COMPLETION_FAILED, "xé", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, c.run, nil)
			lease := f.grant(7)
			got := next(t, f.leader.reports, "completion")
			if got.GetCompletion() != c.want || !strings.Contains(got.GetError(), c.error) || got.GetMissing() != c.missing {
				t.Errorf("got %v %q %q, want %v %q %q", got.GetCompletion(), got.GetError(), got.GetMissing(), c.want, c.error, c.missing)
			}
			if got.GetEpoch() != 1 || got.GetNumber() != 7 || got.GetTask() != lease.GetTask() || got.GetBuilder() != "b1" {
				t.Errorf("the completion is for another lease: %v", got)
			}
			if !utf8.ValidString(got.GetError()) || len(got.GetError()) > maxError {
				t.Errorf("the error has %d bytes, valid %v", len(got.GetError()), utf8.ValidString(got.GetError()))
			}
		})
	}
}

func TestAStepPastItsDeadlineIsEnded(t *testing.T) {
	f := start(t, func(ctx context.Context, _ *step.Request) (*step.Response, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, nil)
	node := &kilnv1.Node{Kind: step.Flatten, Version: step.Versions[step.Flatten], Label: "flatten x"}
	f.leader.grants <- []*kilnv1.Lease{{Epoch: 1, Number: 1, Task: "t", Node: node, DeadlineMs: 10}}
	got := next(t, f.leader.reports, "completion")
	if got.GetCompletion() != kilnv1.Completion_COMPLETION_INFRA || got.GetError() != "flatten x took longer than it may: 10ms" {
		t.Errorf("got %v %q", got.GetCompletion(), got.GetError())
	}
}

func TestACompletionNamesOutputsAndAllBlobs(t *testing.T) {
	a, b := cache.SumBytes([]byte("a")), cache.SumBytes([]byte("b"))
	f := start(t, func(_ context.Context, req *step.Request) (*step.Response, error) {
		return &step.Response{Outputs: []step.Output{{Name: "tree", Digest: a, Size: 1}}, References: []cache.Digest{b, a, b}}, nil
	}, nil)
	f.grant(1)
	got := next(t, f.leader.reports, "completion")
	if diff := cmp.Diff([]string{a.String(), b.String()}, got.GetReferences()); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	if o := got.GetOutputs(); len(o) != 1 || o[0].GetName() != "tree" || o[0].GetDigest() != a.String() || o[0].GetSize() != 1 {
		t.Errorf("outputs: %v", o)
	}
}

func TestABuilderTellsWhatItCanDo(t *testing.T) {
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) { return &step.Response{}, nil }, nil)
	got := next(t, f.leader.asked, "request for leases")
	if got.GetCredits() != 1 || got.GetBuilder().GetSlots() != 2 || got.GetBuilder().GetSession() == "" {
		t.Errorf("got %v", got)
	}
	kinds := got.GetBuilder().GetKinds()
	if len(kinds) != 1 || kinds[0].GetKind() != step.Flatten || kinds[0].GetVersion() != step.Versions[step.Flatten] {
		t.Errorf("kinds: %v", kinds)
	}
}

func TestAKindOfAnotherVersionIsNotRun(t *testing.T) {
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) {
		t.Error("the step ran")
		return &step.Response{}, nil
	}, nil)
	node := &kilnv1.Node{Kind: step.Flatten, Version: step.Versions[step.Flatten] + 1}
	f.leader.grants <- []*kilnv1.Lease{{Epoch: 1, Number: 1, Task: "t", Node: node}}
	if got := next(t, f.leader.reports, "completion"); got.GetCompletion() != kilnv1.Completion_COMPLETION_INFRA {
		t.Errorf("got %v", got)
	}
}

// fetcher is a Fetcher in a function.
type fetcher func(ctx context.Context, source *kilnv1.Source) error

func (f fetcher) Fetch(ctx context.Context, source *kilnv1.Source, _ *kilnv1.BuildSpec, _ func(string)) error {
	return f(ctx, source)
}

func TestInputsAreFetchedBeforeTheStep(t *testing.T) {
	var f *fixture
	f = start(t, func(ctx context.Context, req *step.Request) (*step.Response, error) {
		file, err := req.Blobs.Open(ctx, req.Input("layer/0"))
		if err != nil {
			return nil, err
		}
		return &step.Response{}, file.Close()
	}, func(c *Config) {
		c.Fetcher = fetcher(func(_ context.Context, source *kilnv1.Source) error {
			if source.GetReference() != "docker.io/lab/web:1" {
				return fmt.Errorf("asked for %v", source)
			}
			f.put(t, "layer")
			return nil
		})
	})
	d := cache.SumBytes([]byte("layer"))
	node := &kilnv1.Node{Kind: step.Flatten, Version: step.Versions[step.Flatten],
		Inputs:  []*kilnv1.Input{{Name: "layer/0", From: &kilnv1.Input_Digest{Digest: d.String()}}},
		Sources: []*kilnv1.Source{{Digest: d.String(), Reference: "docker.io/lab/web:1"}}}
	f.leader.grants <- []*kilnv1.Lease{{Epoch: 1, Number: 1, Task: "t", Node: node}}
	if got := next(t, f.leader.reports, "completion"); got.GetCompletion() != kilnv1.Completion_COMPLETION_DONE {
		t.Errorf("got %v", got)
	}
}

func TestAnInputWithoutSourceIsMissing(t *testing.T) {
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) {
		t.Error("the step ran without its input")
		return &step.Response{}, nil
	}, nil)
	d := cache.SumBytes([]byte("nobody has it"))
	f.grant(1, f.put(t, "here"), d)
	got := next(t, f.leader.reports, "completion")
	if got.GetCompletion() != kilnv1.Completion_COMPLETION_INPUT_MISSING || got.GetMissing() != d.String() {
		t.Errorf("got %v", got)
	}
}

func TestACompletionIsRepeatedUntilItIsAnswered(t *testing.T) {
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) { return &step.Response{}, nil }, nil)
	f.leader.mu.Lock()
	f.leader.lose = 3
	f.leader.mu.Unlock()
	f.grant(1)
	for i := range 4 {
		if got := next(t, f.leader.reports, fmt.Sprintf("completion %d", i)); got.GetNumber() != 1 {
			t.Errorf("got %v", got)
		}
	}
}

func TestALeaseGrantedTwiceIsWorkedOnOnce(t *testing.T) {
	var runs atomic.Int32
	release := make(chan struct{})
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) {
		runs.Add(1)
		<-release
		return &step.Response{}, nil
	}, nil)
	lease := f.grant(1)
	f.leader.grants <- []*kilnv1.Lease{lease}
	// Asked a third time, the builder has taken both answers; the slot of the second is free again.
	for range 2 {
		next(t, f.leader.asked, "request")
	}
	if got := next(t, f.leader.asked, "request after the duplicate"); got.GetCredits() != 1 {
		t.Errorf("got %d credits, want 1", got.GetCredits())
	}
	close(release)
	next(t, f.leader.reports, "completion")
	if got := runs.Load(); got != 1 {
		t.Errorf("the step ran %d times", got)
	}
}

func TestAStopEndsTheStepWithoutACompletion(t *testing.T) {
	for _, how := range []string{"by a message", "by the answer to a heartbeat"} {
		t.Run(how, func(t *testing.T) {
			running, ended := make(chan struct{}), make(chan struct{})
			f := start(t, func(ctx context.Context, req *step.Request) (*step.Response, error) {
				close(running)
				<-ctx.Done()
				close(ended)
				return nil, ctx.Err()
			}, nil)
			lease := f.grant(3)
			next(t, running, "start of the step")
			ref := &kilnv1.LeaseRef{Epoch: 1, Number: 3, Task: lease.GetTask()}
			if how == "by a message" {
				// A lease that is not ours is left alone.
				for _, r := range []*kilnv1.LeaseRef{{Epoch: 0, Number: 3}, {Epoch: 1, Number: 4}, ref} {
					check(t, bus.Publish(context.Background(), f.leader.bus, bus.For(farm).Stop("b1"), r))
				}
			} else {
				f.leader.mu.Lock()
				f.leader.stopping = []*kilnv1.LeaseRef{ref}
				f.leader.mu.Unlock()
			}
			next(t, ended, "end of the step")
			f.drain()
			check(t, next(t, f.ended, "end of the builder"))
			if len(f.leader.reports) != 0 {
				t.Errorf("a stopped lease was completed: %v", <-f.leader.reports)
			}
		})
	}
}

func TestHeartbeatsNameWhatRuns(t *testing.T) {
	release := make(chan struct{})
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) {
		<-release
		return &step.Response{}, nil
	}, nil)
	lease := f.grant(9)
	for {
		beat := next(t, f.leader.beats, "heartbeat")
		if l := beat.GetLeases(); len(l) == 1 && l[0].GetNumber() == 9 && l[0].GetEpoch() == 1 && l[0].GetTask() == lease.GetTask() {
			break
		}
	}
	close(release)
	next(t, f.leader.reports, "completion")
}

func TestADrainFinishesWhatRuns(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) {
		close(running)
		<-release
		return &step.Response{}, nil
	}, nil)
	f.grant(1)
	next(t, running, "start of the step")
	f.drain()
	close(release)
	check(t, next(t, f.ended, "end of the builder"))
	if got := next(t, f.leader.reports, "completion"); got.GetCompletion() != kilnv1.Completion_COMPLETION_DONE {
		t.Errorf("got %v", got)
	}
	if len(f.leader.released) != 0 {
		t.Errorf("a finished lease was given back")
	}
}

func TestADrainGivesBackWhatDoesNotEnd(t *testing.T) {
	running := make(chan struct{})
	f := start(t, func(ctx context.Context, _ *step.Request) (*step.Response, error) {
		close(running)
		<-ctx.Done()
		return nil, ctx.Err()
	}, func(c *Config) { c.Grace = time.Millisecond })
	lease := f.grant(5)
	next(t, running, "start of the step")
	f.drain()
	check(t, next(t, f.ended, "end of the builder"))
	got := next(t, f.leader.released, "release")
	if l := got.GetLeases(); len(l) != 1 || l[0].GetNumber() != 5 || l[0].GetTask() != lease.GetTask() || got.GetBuilder() != "b1" {
		t.Errorf("got %v", got)
	}
	if len(f.leader.reports) != 0 {
		t.Errorf("a lease that was given back was completed: %v", <-f.leader.reports)
	}
}

func TestABuilderWithoutRoomTakesNothing(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	refused := make(chan struct{}, 64)
	f := start(t, func(context.Context, *step.Request) (*step.Response, error) { return &step.Response{}, nil }, func(c *Config) {
		c.Room = func() error {
			if full.Load() {
				select {
				case refused <- struct{}{}:
				default:
				}
				return errors.New("the disk of the cache is nearly full")
			}
			return nil
		}
	})
	for range 3 {
		next(t, refused, "question for room")
	}
	if len(f.leader.asked) != 0 {
		t.Error("it asked for leases all the same")
	}
	full.Store(false)
	next(t, f.leader.asked, "request once there is room")
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	f := start(t, nil, nil)
	good := Config{ID: "b", Blobs: f.store, Bus: f.leader.bus, Slots: 1}
	for name, spoil := range map[string]func(*Config){
		"no blobs": func(c *Config) { c.Blobs = nil },
		"no bus":   func(c *Config) { c.Bus = nil },
		"no id":    func(c *Config) { c.ID = "" },
		"no slots": func(c *Config) { c.Slots = 0 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("a builder with %s was made", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
