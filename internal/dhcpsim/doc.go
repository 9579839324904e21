// Package dhcpsim is thousands of DHCP clients in one process: firmware, iPXE and operating systems of machines that are
// switched on and off, move, share a MAC with another, or lie.
//
// Most are behind a relay agent, which the package is as well; some are directly on a segment, with frames and ARP of their
// own. Machines of IPv6 have their addresses by DHCPv6 (RFC 8415: SOLICIT with and without Rapid Commit, REQUEST, CONFIRM, RENEW,
// REBIND, RELEASE and DECLINE, one IA_NA), some beside one of IPv4: each program of a machine has a DUID and an IAID of its own,
// and is known by what the relay agent says (RFC 6939), by its address of the link, or by its DUID. Both families share the life
// that a machine has (body.go); each has its own packets (packet.go, packet6.go), and what it does with them (life.go, life6.go).
//
// All they do comes from a seed, times are those of the monotonic clock, and one goroutine does everything but receive,
// so that a history has one order. Package history says whether what they were told is right.
//
// The package knows nothing of any server: the same clients of IPv4 were tried on dnsmasq and Kea.
package dhcpsim
