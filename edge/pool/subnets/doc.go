// Package subnets is what an intent says of subnets, as edges go by it with every packet: in which of them a client may be, of which
// class it is, which addresses it may get there and for how long, and what else it is told. Both families are in it: what is
// different is their options, how far pools reach, and which addresses nobody may have.
//
// A Book is made once for an intent, never changed, and knows of no binding.
package subnets
