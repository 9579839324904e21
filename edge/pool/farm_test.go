package pool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// testFarm is the farm's real state, without the network and the other coordinators.
type testFarm struct {
	begun time.Time
	delay func() time.Duration // of a call, there and back; nil: none
	again func() time.Duration // after which a call comes once more, as one that was given up may; 0: it does not

	mu       sync.Mutex // guards what follows
	state    *state.Machine
	away     map[string]bool // from whom
	lost     bool            // answers are lost, after the command was applied
	calls    int
	commands int
	watchers []*Pool
}

func newTestFarm(t testing.TB, in *kilnv1.RoomCommand) *testFarm {
	t.Helper()
	f := &testFarm{begun: time.Now(), state: state.New()}
	for _, c := range []*kilnv1.Command{
		{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: &kilnv1.Member{Id: "a", Address: "a:1", Level: state.Level()}}}},
		{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: state.Level()}}},
		{Command: &kilnv1.Command_Room{Room: in}},
	} {
		if r := f.apply(c); r[0].Refused != "" {
			t.Fatalf("%v: %s", c, r[0].Refused)
		}
	}
	return f
}

func (f *testFarm) steady() int64 { return time.Since(f.begun).Milliseconds() }

// apply applies commands, and tells watchers of what has changed.
func (f *testFarm) apply(commands ...*kilnv1.Command) []state.Result {
	f.commands += len(commands)
	out := f.state.Apply(&kilnv1.Entry{Level: state.Level(), SteadyMs: f.steady(), UnixMs: f.steady(), Commands: commands})
	var now []*kilnv1.BindingNow
	for _, c := range out.Changes {
		if c.Kind == state.BindingChanged {
			now = append(now, &kilnv1.BindingNow{Binding: c.Binding, RemainingMs: c.Binding.GetUntilMs() - f.steady()})
		}
	}
	for _, p := range f.watchers {
		p.Take(now, false)
	}
	return out.Results
}

// watch has a pool follow the farm.
func (f *testFarm) watch(p *Pool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.Begin()
	var now []*kilnv1.BindingNow
	for _, b := range f.state.Bindings() {
		now = append(now, &kilnv1.BindingNow{Binding: b, RemainingMs: b.GetUntilMs() - f.steady()})
	}
	p.Take(now, true)
	f.watchers = append(f.watchers, p)
}

// cut takes the farm away from edges, which hear nothing then of what happens. With lost nobody gets an answer.
func (f *testFarm) cut(lost bool, pools ...*Pool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away, f.lost = map[string]bool{}, lost
	for _, p := range pools {
		f.away[p.cfg.Edge] = true
		f.watchers = slices.DeleteFunc(f.watchers, func(w *Pool) bool { return w == p || lost })
	}
}

// isAway says whether an edge cannot reach the farm.
func (f *testFarm) isAway(edge string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away[edge]
}

// heal has edges that were cut off begin anew.
func (f *testFarm) heal(pools ...*Pool) {
	f.mu.Lock()
	f.away, f.lost, f.watchers = nil, false, nil
	f.mu.Unlock()
	for _, p := range pools {
		f.watch(p)
	}
}

var errTestAway = errors.New("nobody answers")

// farmOf is the farm as one edge reaches it.
type farmOf struct {
	*testFarm
	edge string
}

func (f farmOf) reach(ctx context.Context) error {
	if f.delay != nil {
		select {
		case <-time.After(f.delay()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.away[f.edge] {
		return errTestAway
	}
	return nil
}

// Bind implements Farm.
func (f farmOf) Bind(ctx context.Context, commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) {
	if err := f.reach(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*kilnv1.Command
	for _, c := range commands {
		list = append(list, &kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: c}})
	}
	if f.again != nil && len(list) > 0 {
		if late := f.again(); late > 0 {
			time.AfterFunc(late, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.apply(list...)
			})
		}
	}
	var out []*kilnv1.BindResult
	for _, r := range f.apply(list...) {
		verdict, ok := map[state.Refusal]kilnv1.BindVerdict{"": 1, state.RefusedBound: 2, state.RefusedElsewhere: 3, state.RefusedOutside: 4, state.RefusedFull: 5}[r.Refused]
		if !ok {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("refused: %s", r.Refused))
		}
		one := &kilnv1.BindResult{Verdict: verdict, Address: r.Binding.GetAddress(), Name: r.Name}
		if r.Binding != nil {
			one.UntilMs, one.KeptUntilMs = r.Binding.GetUntilMs(), r.Binding.GetKeptUntilMs()
			one.RemainingMs = one.UntilMs - f.steady()
		}
		out = append(out, one)
	}
	if f.lost {
		return nil, errTestAway
	}
	return out, nil
}

// Grant implements Farm.
func (f farmOf) Grant(ctx context.Context, subnet, class string, size uint32) ([]netip.Addr, time.Duration, error) {
	if err := f.reach(ctx); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	const life = 10 * time.Minute
	r := f.apply(&kilnv1.Command{Command: &kilnv1.Command_Block{Block: &kilnv1.BlockCommand{Edge: f.edge, Subnet: subnet, Class: class, Size: size, ForMs: life.Milliseconds()}}})
	if r[0].Refused != "" {
		return nil, 0, errors.New(string(r[0].Refused))
	}
	return ofIPv4.Addresses(r[0].Block.GetAddresses()), life, nil
}

// binding is what the farm has of an address, and for how long it holds.
func (f *testFarm) binding(subnet string, a netip.Addr) (client string, left time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.state.Binding(subnet, a)
	if !state.Holds(b, f.steady()) {
		return "", 0
	}
	client = b.GetClient()
	if client == "" && b.GetKeptUntilMs() > f.steady() {
		client = clientOf(b.GetMac()) // it declined it at another edge: nobody else gets it
	}
	return client, time.Duration(b.GetUntilMs()-f.steady()) * time.Millisecond
}

// addressOf is the address that a client has or had last.
func (f *testFarm) addressOf(mac string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.state.Bindings() {
		if b.GetMac() == mac {
			return b.GetAddress()
		}
	}
	return ""
}

// ofIPv4 reads what is of IPv4.
var ofIPv4 = &subnets.Subnet{Prefix: netip.MustParsePrefix("0.0.0.0/0")}
