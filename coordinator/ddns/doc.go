// Package ddns decides what a farm's machines are called in DNS, and how a server is told (RFC 2136).
//
//   - Wanted makes the records that should be there of what is described and what is bound (wanted.go).
//   - Plan compares them with the records that are there, or may be: what is to be done now, and what must wait (plan.go).
//   - An Exchange is the talk with a server about one record: what to send, and what its answer means (exchange.go). A name is
//     marked as its client's by a DHCID record (RFC 4701, RFC 4703), so that a name that somebody made by hand, or another
//     DHCP server, is never touched. So are pointers, which RFC 4703 would let us overwrite.
//
// All of it is pure: the leader has the clock, the state and the connections (coordinator/publisher.go, coordinator/nsupdate).
package ddns
