// Package decide says what is to be done about a packet of a client in subnets with pools, over IPv4 (RFC 2131 §4.3) and IPv6
// (RFC 8415 §18.3): what it asks for (Read, Read6), and which step follows from that and from what is known (Decide, Decide6).
//
// It is pure. The farm has the last word on what is bound; nothing here says that an address is anybody's.
package decide
