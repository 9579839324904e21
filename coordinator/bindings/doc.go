// Package bindings is the duty that tells edges and people of bindings that change. One that is too far behind is sent away
// and begins anew, so that nobody holds up the others.
//
// It never waits for who listens, and never changes a binding.
package bindings
