package seldom

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTheSameIsSaidOnceInAWhile(t *testing.T) {
	now := time.Unix(0, 0)
	s := New(Every, func() time.Time { return now })
	for _, c := range []struct {
		after time.Duration
		what  string
		want  bool
	}{
		{0, "a", true}, {0, "a", false}, {0, "b", true}, {59 * time.Second, "a", false}, {time.Second, "a", true}, {time.Second, "a", false},
	} {
		now = now.Add(c.after)
		if got := s.Due(c.what); got != c.want {
			t.Errorf("at %s: %q is due: %v, want %v", now.Sub(time.Unix(0, 0)), c.what, got, c.want)
		}
	}
}

func TestOneOfManySaysIt(t *testing.T) {
	s := New(time.Hour, nil)
	var said atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if s.Due("it") {
				said.Add(1)
			}
		})
	}
	all.Wait()
	if said.Load() != 1 {
		t.Errorf("it was said %d times", said.Load())
	}
}

func TestSayingsAreBounded(t *testing.T) {
	s := New(time.Hour, nil)
	for n := range 2 * most {
		s.Due(strconv.Itoa(n))
	}
	if n := s.said.Len(); n > most {
		t.Errorf("%d are remembered, want at most %d", n, most)
	}
}
