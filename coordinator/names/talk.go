package names

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"

	"github.com/kiln-farm/kiln/coordinator/ddns"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// result is what came of a task.
type result struct {
	verdict ddns.Verdict
	why     string
	skipped bool // it was not tried, since others had failed
}

// talkAll talks about all records of a batch. Those of one name go over one connection, in their order.
func (l *lane) talkAll(ctx context.Context, batch []ddns.Task, conns []*nsupdate.Conn) []result {
	results := make([]result, len(batch))
	var failed failures
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() {
			for j, t := range batch {
				if shard(t.Record, len(conns)) != i {
					continue
				}
				if failed.has(t.Record.GetZone()) {
					results[j].skipped = true
					continue
				}
				results[j] = l.talk(ctx, c, t)
				failed.note(t.Record.GetZone(), results[j].verdict)
			}
		})
	}
	all.Wait()
	return results
}

func shard(r *kilnv1.DNSRecord, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(ddns.OwnerOf(r).Name))
	return int(h.Sum32() % uint32(n))
}

// failures are what need not be tried in the rest of a batch.
type failures struct {
	mu    sync.Mutex
	away  bool
	zones map[string]bool
}

func (f *failures) has(zone string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away || f.zones[zone]
}

func (f *failures) note(zone string, v ddns.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch v {
	case ddns.Away:
		f.away = true
	case ddns.Refused:
		if f.zones == nil {
			f.zones = map[string]bool{}
		}
		f.zones[zone] = true
	}
}

// talk is all that is said to the server about one record.
func (l *lane) talk(ctx context.Context, c *nsupdate.Conn, t ddns.Task) result {
	if l.pace.Wait(ctx) != nil {
		return result{verdict: ddns.Away}
	}
	if err := l.p.Verify(ctx); err != nil { // another one may be at work by now
		return result{ddns.Away, "this coordinator does not lead now", false}
	}
	var key *nsupdate.Key
	if name := t.Record.GetKey(); name != "" {
		var err error
		if key, err = l.p.keys.Get(name); err != nil {
			return result{ddns.Refused, err.Error(), false}
		}
	}
	begin := ddns.Adding
	if t.Remove {
		begin = ddns.Removing
	}
	e, err := begin(t.Record)
	if err != nil {
		if t.Remove {
			return result{} // nobody can have published it
		}
		return result{ddns.Taken, err.Error(), false}
	}
	for m := e.Begin(); ; {
		answer, err := c.Do(ctx, m, key)
		var signature nsupdate.Signature
		switch {
		case errors.As(err, &signature):
			return result{ddns.Refused, ddns.Explain(t.Record, 0, signature.Code), false}
		case err != nil:
			return result{ddns.Away, fmt.Sprintf("%s does not answer updates: %v; what is to be done there waits", l.server, err), false}
		}
		next, verdict := e.Next(answer)
		if next == nil {
			if verdict == ddns.Done {
				return result{}
			}
			return result{verdict, ddns.Explain(t.Record, answer.Rcode, 0), false}
		}
		m = next
	}
}
