// Package replica is what an edge knows of all bindings: which client has which address until when, by the edge's own clock, and
// for how long a client may be told to have one without the farm. It may be behind what the farm knows, and is never ahead of it but
// for what this edge has had committed itself.
//
// It has no clock, no lock and no I/O.
package replica
