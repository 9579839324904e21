// Package dhcp6 tells machines that boot over IPv6 what to boot, and their addresses if it is asked to (RFC 8415, RFC 5970).
//
// It has the shape of package dhcp, and pure decisions as that one: Classify reads a packet and says who asks, Check says
// whether it is ours to answer, the caller decides on a Plan, and Reply makes the packet and says where it goes. A plan either
// says options only (the addresses are made by the machines themselves, or are another server's), or gives an address too.
// There is no proxy as over IPv4: firmware takes a boot file only from the server that it has its address from.
//
// DHCPv6 knows clients by a DUID, which firmware, boot program and operating system of one machine each make up for themselves,
// and which two machines share whose disk was copied. So a machine is its hardware address here, if there is any way to know it
// (identity.go).
//
// The sockets (Server) are a thin shell. A decision that gives an address may take long, since it is to be in the farm's state
// before the answer: such decisions have workers of their own, a client has few at once, and one that asks again meanwhile or
// afterwards gets the same answer.
//
// The package keeps no leases. It never gives an address out by itself, never answers for another server, and never delegates
// prefixes or gives temporary addresses.
package dhcp6
