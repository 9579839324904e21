package main

import "testing"

func TestGarbageIsBoundedBesideWhatLives(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {4 << 20, 400}, {12 << 20, 400}, {16 << 20, 300}, {32 << 20, 150}, {48 << 20, 100}, {4 << 30, 100}} {
		got := percent(c.live)
		if got != c.want {
			t.Errorf("%d MiB live: got %d %%, want %d %%", c.live>>20, got, c.want)
		}
		if more := c.live / 100 * uint64(got); more > max(garbage, c.live) {
			t.Errorf("%d MiB live: %d MiB of garbage", c.live>>20, more>>20)
		}
	}
}
