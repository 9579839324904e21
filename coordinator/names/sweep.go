package names

import (
	"hash/fnv"
	"io"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/coordinator/ddns"
)

// sweepParts is in how many parts all names are sent once more, one after the other. By the time of day, so that another leader goes on
// where the last one was.
const sweepParts = 24

// sweep is which records were sent once more. It is lost with the leader: what is sent twice does no harm.
type sweep struct {
	period time.Duration // for all of them; 0: it is never done

	mu   sync.Mutex // guards what follows
	part int64      // by the clock
	done map[ddns.Key]bool
}

// due says whether a record's turn has come, and nothing was sent yet.
func (s *sweep) due(key ddns.Key, now time.Time) bool {
	if s.period == 0 {
		return false
	}
	h := fnv.New32a()
	for _, text := range []string{key.Server, key.Zone, key.Name, key.Address} {
		_, _ = io.WriteString(h, text) // a hash takes everything
	}
	part := now.UnixNano() / int64(s.period/sweepParts)
	s.mu.Lock()
	defer s.mu.Unlock()
	if part != s.part {
		s.part, s.done = part, map[ddns.Key]bool{}
	}
	return int64(h.Sum32()%sweepParts) == part%sweepParts && !s.done[key]
}

func (s *sweep) sent(key ddns.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.done[key] = true
	}
}
