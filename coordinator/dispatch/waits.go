package dispatch

import (
	"slices"
	"sync"
	"time"
)

// keptWaits is how many of the latest leases waits knows.
const keptWaits = 8192

// waits is how long steps were ready before they were leased.
type waits struct {
	mu     sync.Mutex // guards what follows
	latest []time.Duration
	count  uint64
}

func (w *waits) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.latest) < keptWaits {
		w.latest = append(w.latest, d)
	} else {
		w.latest[w.count%keptWaits] = d
	}
	w.count++
}

// Quantiles returns the median and the 99th percentile of the latest, and how many there were in all.
func (w *waits) Quantiles() (p50, p99 time.Duration, count uint64) {
	w.mu.Lock()
	sorted := slices.Clone(w.latest)
	count = w.count
	w.mu.Unlock()
	if len(sorted) == 0 {
		return 0, 0, 0
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100], count
}
