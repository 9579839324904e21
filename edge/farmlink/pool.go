package farmlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/edge/pool"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Pool is a pool.Farm. It has connections of its own: a client of DHCP waits for seconds only.
type Pool struct {
	Edge string // name of the edge
	File string // that keeps bindings

	known func() []string // URLs of coordinators
	dial  func() (*Conn, error)
	calls calls

	mu     sync.Mutex           // guards what follows
	leader string               // URL of the one to ask next; empty: any
	named  map[string]time.Time // when leaders were last asked because others had named them
}

// leaderAgain is how long a leader that was asked itself and yet answers through others is not asked so again: it seems that
// this edge does not reach it.
const leaderAgain = 30 * time.Second

func newPool(cfg Config) *Pool {
	f := &Pool{Edge: cfg.Edge, File: cfg.Bindings, known: cfg.Coordinators}
	var turn atomic.Uint32
	// Every connection goes to another coordinator, for one that hangs is not asked twice in a row, or to the leader when one
	// that does not lead has just named it.
	f.dial = func() (*Conn, error) {
		urls := f.known()
		if leader := f.next(); leader != "" {
			urls = append([]string{leader}, slices.DeleteFunc(urls, func(one string) bool { return one == leader })...)
		} else if n := int(turn.Add(1)-1) % max(len(urls), 1); n > 0 {
			urls = slices.Concat(urls[n:], urls[:n])
		}
		return cfg.Dial(urls)
	}
	f.calls.dial = f.dial
	return f
}

// elsewhere says whether an answer came from the leader by way of another coordinator. The next connection goes to the leader
// itself then, if its address is one of those that this edge knows.
func (f *Pool) elsewhere(answer http.Header) bool {
	leader := "https://" + answer.Get(kilnv1.HeaderLeader)
	if !slices.Contains(f.known(), leader) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.named[leader]; ok && time.Since(last) < leaderAgain {
		return false
	}
	if f.named == nil {
		f.named = map[string]time.Time{}
	}
	f.leader, f.named[leader] = leader, time.Now()
	return true
}

// next is the leader that was named, once.
func (f *Pool) next() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	leader := f.leader
	f.leader = ""
	return leader
}

// Bind implements pool.Farm.
func (f *Pool) Bind(ctx context.Context, commands []*kilnv1.BindCommand) (results []*kilnv1.BindResult, err error) {
	var by *Conn // that brought the answer, when there is a better one
	err = f.calls.do(func(client *Conn) error {
		answer, err := client.Room.Bind(ctx, connect.NewRequest(&kilnv1.BindRequest{Commands: commands}))
		if err == nil {
			results = answer.Msg.GetResults()
			if f.elsewhere(answer.Header()) {
				by = client
			}
		}
		return err
	})
	if by != nil {
		f.calls.drop(by)
	}
	return results, err
}

// Grant implements pool.Farm.
func (f *Pool) Grant(ctx context.Context, subnet, class string, size uint32) (addresses []netip.Addr, life time.Duration, err error) {
	err = f.calls.do(func(client *Conn) error {
		answer, err := client.Room.Grant(ctx, connect.NewRequest(&kilnv1.GrantRequest{Edge: f.Edge, Subnet: subnet, Class: class, Size: size}))
		if err != nil {
			return err
		}
		life = time.Duration(answer.Msg.GetRemainingMs()) * time.Millisecond
		for _, text := range answer.Msg.GetAddresses() {
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
				addresses = append(addresses, a)
			}
		}
		return nil
	})
	return addresses, life, err
}

// Follow tells a pool of all bindings, over as many connections as it takes.
func (f *Pool) Follow(ctx context.Context, p *pool.Pool, log *slog.Logger) {
	wait, sent := againFirst, false
	for ctx.Err() == nil {
		err := f.watch(ctx, p, !sent, func() { wait = againFirst })
		if ctx.Err() != nil {
			return
		}
		if sent = errors.Is(err, errElsewhere); sent {
			continue
		}
		log.Info("the farm does not tell now who has which address; what it told last holds as long as it said", "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, againMost)
	}
}

var errElsewhere = errors.New("the leader is elsewhere")

// watch tells a pool of bindings until the connection ends; with direct, only as long as that is the leader's own.
func (f *Pool) watch(ctx context.Context, p *pool.Pool, direct bool, heard func()) error {
	client, err := f.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.Room.WatchBindings(ctx, connect.NewRequest(&kilnv1.WatchBindingsRequest{}))
	if err != nil {
		return err
	}
	defer stream.Close()
	p.Begin()
	for stream.Receive() {
		if f.elsewhere(stream.ResponseHeader()) && direct {
			return errElsewhere
		}
		heard()
		p.Take(stream.Msg().GetBindings(), stream.Msg().GetComplete())
	}
	return fmt.Errorf("the connection ended: %w", stream.Err())
}
