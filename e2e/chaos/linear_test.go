package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// What a build may be, as a set of bits: a build that runs may end at any moment, unseen.
type condition uint8

const (
	absent condition = 1 << iota
	running
	done
	failed
	canceled
)

type verb string

const (
	submit verb = "submit"
	cancel verb = "cancel"
	status verb = "status"
)

// call is what a client asked.
type call struct {
	Verb  verb
	Build string
}

// answer is what it was told.
type answer struct {
	Unknown bool      // there was none: it may have happened, or happen yet
	Saw     condition // of status: one bit; of cancel: absent when there is no such build
}

// buildModel is one build as its clients may see it: Submit makes it once, Cancel ends it unless it has ended.
var buildModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byBuild := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(call).Build
			byBuild[id] = append(byBuild[id], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byBuild {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return absent },
	Step: func(from, input, output any) (bool, any) {
		may, asked, told := from.(condition), input.(call), output.(answer)
		var next condition
		for _, c := range []condition{absent, running, done, failed, canceled} {
			if may&c != 0 {
				next |= step(c, asked.Verb, told)
			}
		}
		if next&running != 0 {
			next |= done | failed
		}
		return next != 0, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// step is what a build that is c may be after an operation; 0 when the answer cannot be.
func step(c condition, v verb, told answer) condition {
	switch v {
	case submit:
		if c == absent {
			return running
		}
		return c
	case cancel:
		switch {
		case told.Unknown && c == absent:
			return c
		case (c == absent) != (told.Saw == absent) && !told.Unknown:
			return 0
		case c == running:
			return canceled
		}
		return c
	case status:
		if told.Saw == c {
			return c
		}
	}
	return 0
}

// history is what clients did and saw.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// check says whether some order of the operations explains all answers.
func (h *history) check(patience time.Duration) (porcupine.CheckResult, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(buildModel, h.ops, patience), len(h.ops)
}

// never is when an operation returned that nobody saw return.
const never = int64(1) << 62

// observer is a client that submits, cancels and looks at builds through any coordinator.
type observer struct {
	id      int
	apis    []kilnv1connect.FarmServiceClient
	history *history
	random  *rand.Rand
	spec    *kilnv1.BuildSpec
	start   time.Time
	recent  *recent
}

// recent are the builds that observers work on, shared so that their operations meet.
type recent struct {
	mu  sync.Mutex
	ids []string
}

const recentBuilds = 3

func (r *recent) pick(random *rand.Rand) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) == 0 || random.IntN(12) == 0 {
		r.ids = append(r.ids, uuid.Must(uuid.NewV7()).String())
		r.ids = r.ids[max(0, len(r.ids)-recentBuilds):]
	}
	return r.ids[random.IntN(len(r.ids))]
}

// run does one operation after the other until ctx ends.
func (o *observer) run(ctx context.Context, pace time.Duration) {
	for ctx.Err() == nil {
		o.once(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(o.random.Int64N(int64(2 * pace)))):
		}
	}
}

// opWait is how long an observer waits for an answer.
const opWait = 4 * time.Second

func (o *observer) once(ctx context.Context) {
	asked := call{Build: o.recent.pick(o.random), Verb: []verb{submit, submit, status, status, status, status, cancel}[o.random.IntN(7)]}
	api := o.apis[o.random.IntN(len(o.apis))]
	begun := time.Since(o.start).Nanoseconds()
	one, stop := context.WithTimeout(ctx, opWait)
	defer stop()
	told, err := o.ask(one, api, asked)
	ended := time.Since(o.start).Nanoseconds()
	if err != nil {
		if asked.Verb == status {
			return // it saw nothing
		}
		told, ended = answer{Unknown: true}, never
	}
	o.history.add(porcupine.Operation{ClientId: o.id, Input: asked, Call: begun, Output: told, Return: ended})
}

func (o *observer) ask(ctx context.Context, api kilnv1connect.FarmServiceClient, asked call) (answer, error) {
	switch asked.Verb {
	case submit:
		spec := proto.CloneOf(o.spec)
		spec.Id, spec.Name, spec.Detached = asked.Build, "observed", true
		_, err := api.Submit(ctx, connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec}))
		return answer{}, err
	case cancel:
		_, err := api.Cancel(ctx, connect.NewRequest(&kilnv1.CancelRequest{Id: asked.Build, Reason: "an observer's whim"}))
		if connect.CodeOf(err) == connect.CodeNotFound {
			return answer{Saw: absent}, nil
		}
		return answer{}, err
	}
	got, err := api.GetBuild(ctx, connect.NewRequest(&kilnv1.GetBuildRequest{Team: o.spec.GetTeam(), Id: asked.Build}))
	if connect.CodeOf(err) == connect.CodeNotFound {
		return answer{Saw: absent}, nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{Saw: conditionOf(got.Msg.GetBuild().GetState())}, nil
}

func conditionOf(s kilnv1.BuildState) condition {
	switch s {
	case kilnv1.BuildState_BUILD_STATE_DONE:
		return done
	case kilnv1.BuildState_BUILD_STATE_FAILED:
		return failed
	case kilnv1.BuildState_BUILD_STATE_CANCELED:
		return canceled
	}
	return running
}

// worst returns the operations of the builds whose history cannot be explained.
func (h *history) worst() (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, part := range buildModel.Partition(h.ops) {
		if porcupine.CheckOperationsTimeout(buildModel, part, time.Minute) == porcupine.Illegal {
			slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			for _, op := range part {
				ids = append(ids, fmt.Sprintf("client %d, %d to %d ms: %+v: %+v", op.ClientId, op.Call/1e6, op.Return/1e6, op.Input, op.Output))
			}
			return ids
		}
	}
	return nil
}
