// Package leasefile reads what an operator's old DHCP server has: its subnets, its reservations and who holds which address,
// from the files of dnsmasq, ISC dhcpd and Kea.
//
// It exists so that Kiln can take such a server's place and no machine loses its address. Each format has a file here that
// says where its syntax is written down. All give the same neutral File; whoever calls makes subnets, reservations and leases
// of Kiln out of it, and checks them: ranges that overlap, names that are no host's, leases that have ended by now.
//
// What is not taken over is told, not dropped: File.Notes has a sentence with the line and the reason for each such thing,
// or for all lines of a kind together. A file that cannot be read as what it is said to be gives an Error instead. A damaged
// line of a journal is a Note, because the old server leaves such lines out, too, and serves the rest.
//
// The files come from other people's machines, and names in them from whoever was on the network: reading is linear in the
// size of a file, memory is bounded by the constants in leasefile.go, and nothing in a file makes it panic.
//
// The package is pure. It reads no file, follows no include, knows no clock (a lease may have ended), resolves no name, and
// imports nothing of ours.
package leasefile
