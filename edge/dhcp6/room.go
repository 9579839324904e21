package dhcp6

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/links"
)

// room is where packets wait and are decided about. Those that give or take addresses have workers of their own: while the farm
// has no leader they may all wait for it, and offers and options still go out.
type room struct {
	server  *Server
	ctx     context.Context
	quick   chan job
	slow    chan job
	later   chan struct{} // one for each answer that waits for its time
	workers sync.WaitGroup
}

func (s *Server) start(ctx context.Context) *room {
	queue := cmp.Or(s.Queue, DefaultQueue)
	r := &room{server: s, ctx: ctx, quick: make(chan job, queue), slow: make(chan job, queue), later: make(chan struct{}, queue)}
	for range cmp.Or(s.Workers, DefaultWorkers) {
		for _, jobs := range []chan job{r.quick, r.slow} {
			r.workers.Go(func() {
				for j := range jobs {
					r.work(j)
				}
			})
		}
	}
	return r
}

// enter takes a job unless there is no room.
func (r *room) enter(j job) bool {
	jobs := r.quick
	switch m := j.client.Message; {
	case j.client.Binds(true), m == dhcpv6.MessageTypeRelease, m == dhcpv6.MessageTypeDecline:
		jobs = r.slow
	}
	select {
	case jobs <- j:
		return true
	default:
		return false
	}
}

// end ends when nothing is under way any more. Nobody may enter then.
func (r *room) end() {
	close(r.quick)
	close(r.slow)
	r.workers.Wait()
}

// work answers one packet, or has it answered later.
func (r *room) work(j job) {
	s := r.server
	if r.ctx.Err() != nil || time.Since(j.came) >= patience {
		r.drop(j)
		return
	}
	if j.client.misdirected() { // the answer is the same whatever is decided
		s.finish(j, Plan{})
		return
	}
	decide, cancel := context.WithDeadline(r.ctx, j.came.Add(patience))
	plan := s.Decide(decide, j.client)
	cancel()
	if plan.Delay <= 0 || plan.Mode == Silent {
		s.finish(j, plan)
		return
	}
	select {
	case r.later <- struct{}{}:
	default:
		r.drop(j)
		return
	}
	r.workers.Go(func() {
		defer func() { <-r.later }()
		if links.Pause(r.ctx, plan.Delay); r.ctx.Err() == nil {
			s.finish(j, plan)
		}
	})
}

func (r *room) drop(j job) {
	r.server.dropped.Add(1)
	r.server.flights.land(j.client, Answer{}, time.Now())
}
