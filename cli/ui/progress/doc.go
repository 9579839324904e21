// Package progress shows a person, a log or a machine what a build is doing.
//
// A Track turns the events of a build into what is to be seen of it: a pure value, told the time by its caller. Plain
// writes a line for each thing that happens, JSON writes the events themselves, and TTY redraws a window of live lines
// out of frames that Frame composes. Only TTY has a goroutine and a clock, so that everything else is tested by
// comparing text.
//
// Text that comes out of a build (labels, log lines, errors) is cleaned of control characters before it reaches a
// terminal. Nothing here decides how a build ends.
package progress
