// Package pool gives addresses of pools to machines, on many edges at once, so that none is ever given to two.
//
// The farm's state is the only truth (coordinator/state/bind.go): an address is a client's when the binding is committed, and
// not before. What an edge has is a way to be quick about it:
//
//   - offers come out of memory, from blocks that the farm lends to this edge (stock.go). A block is no promise, so neither
//     losing an offer nor two edges offering the same address does harm;
//   - a REQUEST is acknowledged after its binding is committed (commit). All that come while one call is under way go into
//     the next one. The client is told less than what is committed, so that it never believes to have what the farm has not;
//   - a replica of all bindings (replica) says what a client had, and lets renewals be acknowledged for the time that
//     remains while the farm is away. It is on disk (keep.go) with a clock that goes on when the program does not.
//
// A client is a hardware address: firmware, boot programs and operating systems of one machine send different client ids and
// get the same address.
//
// IPv6 (six.go) has the same farm, replica and limits, and neither blocks nor offers that are kept: a server may answer a REQUEST
// with another address than it advertised. So each client has an order of addresses of its own (subnets), the same on every edge,
// and gets the first that it can have (six_choose.go; docs/decisions/0013).
//
// What to do with a packet is decided by pure functions (decide); Pool is the shell that has the clock, the farm and
// the lock. Clocks are of the kind that nobody sets and that goes on while the host sleeps (CLOCK_BOOTTIME).
//
// The package never gives an address that is not committed, never prolongs one by itself, and never keeps anything that grows
// with the number of packets.
package pool
