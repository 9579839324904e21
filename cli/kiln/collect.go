package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a server may have of garbage before it collects: much beside a small heap, since each collection costs as much as hundreds
// of answers, and as much as Go lets it have beside a large one.
const (
	garbage      = 48 << 20 // bytes
	leastPercent = 100
	mostPercent  = 400
	collectEvery = 10 * time.Second
)

// collectSeldom sets how often garbage is collected, by what lives, from now on.
func collectSeldom() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for was := 0; ; time.Sleep(collectEvery) {
		metrics.Read(live)
		if now := percent(live[0].Value.Uint64()); now != was {
			debug.SetGCPercent(now)
			was = now
		}
	}
}

// percent is what GOGC is to be for so many bytes that live, in steps, so that it does not change all the time.
func percent(live uint64) int {
	const step = 50
	return min(max(int(garbage*100/max(live, 1))/step*step, leastPercent), mostPercent)
}
