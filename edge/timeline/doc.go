// Package timeline tells the farm what machines do, for the timelines that people read: in order, in pieces that the farm takes,
// and later when it cannot be told now. Each event is counted, and is a span of the trace of its boot.
//
// A boot never waits for it, and it never holds more than some thousands of events: the oldest go first.
package timeline
