package members

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestSilenceEndsWhenACoordinatorIsHeardOrRaftBeginsAnew(t *testing.T) {
	long := time.Now().Add(-time.Minute)
	failed := raft.FailedHeartbeatObservation{PeerID: "c2"}
	for _, c := range []struct {
		name   string
		heard  []any
		silent bool
	}{
		{"nothing is heard of it", []any{failed, failed}, true},
		{"it is heard again", []any{failed, raft.ResumedHeartbeatObservation{PeerID: "c2"}}, false},
		{"another one is heard again", []any{failed, raft.ResumedHeartbeatObservation{PeerID: "c3"}}, true},
		{"raft lost an election and won the next", []any{failed, raft.Follower, raft.Leader}, false},
		{"and it fails after that", []any{failed, raft.Follower, raft.Leader, failed}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := silence{since: map[raft.ServerID]time.Time{}}
			for _, o := range c.heard {
				s.hear(o, long)
			}
			if got := s.of("c2") > 0; got != c.silent {
				t.Errorf("silent is %t, want %t", got, c.silent)
			}
		})
	}
}
