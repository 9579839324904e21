// Package seldom lets a program say the same thing once in a while however often it happens, so that a log can be read when much
// goes wrong at once.
//
// It remembers a bounded number of things, and never says anything itself.
package seldom

import (
	"time"

	"github.com/kiln-farm/kiln/internal/recent"
)

// Every is how often the same thing is said, where there is no reason for another time.
const Every = time.Minute

// most is how many things are remembered. One that is forgotten is said again.
const most = 10_000

// Sayings remember what was said lately. They may be used by many goroutines.
type Sayings struct {
	said *recent.Memory[string, struct{}]
}

// New makes Sayings, each of them to be said once within every by the clock now; nil: time.Now.
func New(every time.Duration, now func() time.Time) *Sayings {
	if now == nil {
		now = time.Now
	}
	return &Sayings{recent.New[string, struct{}](most, every, now)}
}

// Due says whether a thing is to be said now, and counts it as said then.
func (s *Sayings) Due(what string) bool { return s.said.Add(what, struct{}{}, 1) }
