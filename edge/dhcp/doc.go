// Package dhcp tells machines that boot from the network what to boot, and, where it is asked to, their addresses too.
//
// Beside a site's own DHCP server it is a proxy: it answers with a boot file and no address, on port 67 and, for firmware
// that asks again, on port 4011. Firmware that cannot put two answers together (there is some) needs the full server: one
// answer with address and boot file. Many of these servers may answer at once; which of them goes first is computed from
// the machine's hardware address (rank.go), so that they need not talk about it.
//
// All decisions are pure. Classify reads a packet and says who asks; the caller decides on a Plan; Reply makes the packet
// to send and says where to. The tests hold the table of what firmware is known to want. The sockets (Server) are a thin
// shell: they never wait for a decision while packets come in, and drop what they have no room for, because clients ask again.
//
// Advertiser answers IPv6 router solicitations with "nothing here": iPXE waits up to 16 seconds for such an answer.
//
// The package keeps no state of machines and knows no leases: an address comes with the Plan. It never gives an address
// out by itself, and never refuses one unless the Plan says that it has the authority to.
package dhcp
