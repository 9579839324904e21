// Package step defines what a step is: its kind, the key that names it, the parameters of each kind, and
// how a kind is run.
//
// A step is a pure function of its key: SHA-256 over our own canonical encoding of kind, kind version,
// parameters, platform, and the digests of its inputs. Whoever changes what a kind makes of the same inputs
// raises the kind's version here.
//
// Nothing in this package reads a clock, an environment or a network.
package step
