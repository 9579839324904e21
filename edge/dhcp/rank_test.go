package dhcp

import (
	"fmt"
	"net"
	"testing"
	"time"
)

func TestRankOrdersTheEdgesDifferentlyForEachMachine(t *testing.T) {
	edges := []string{"a", "b", "c", "d"}
	firsts := map[string]int{}
	for i := range 1000 {
		mac := net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}
		seen := map[int]string{}
		for _, e := range edges {
			seen[Rank(mac, edges, e)] = e
		}
		if len(seen) != 4 || seen[0] == "" || seen[3] == "" {
			t.Fatalf("%s: got the places %v", mac, seen)
		}
		firsts[seen[0]]++
		without := []string{}
		for _, e := range edges {
			if e != seen[0] {
				without = append(without, e)
			}
		}
		for place := 1; place < 4; place++ {
			if got := Rank(mac, without, seen[place]); got != place-1 {
				t.Fatalf("%s: when the first is gone, the one in place %d is in place %d", mac, place, got)
			}
		}
		if got := Rank(mac, without, seen[0]); got != 0 {
			t.Fatalf("%s: an edge that does not know itself to live is in place %d", mac, got)
		}
	}
	for _, e := range edges {
		if firsts[e] < 200 || firsts[e] > 300 {
			t.Errorf("edge %s is the first for %d machines of 1000, want about 250", e, firsts[e])
		}
	}
}

func TestWait(t *testing.T) {
	for _, c := range []struct {
		rank   int
		secs   uint16
		wait   time.Duration
		answer bool
	}{
		{0, 0, 0, true}, {0, 9, 0, true},
		{1, 0, 150 * time.Millisecond, true}, {1, 1, 0, true}, {1, 4, 0, true},
		{2, 0, 0, false}, {2, 3, 0, false}, {2, 4, 0, true}, {9, 12, 0, true},
	} {
		t.Run(fmt.Sprint(c.rank, " after ", c.secs, " s"), func(t *testing.T) {
			if wait, answer := Wait(c.rank, c.secs); wait != c.wait || answer != c.answer {
				t.Errorf("got %s %v, want %s %v", wait, answer, c.wait, c.answer)
			}
		})
	}
}
