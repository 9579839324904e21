// Package pxe answers firmware and boot loaders: what DHCP tells them, over IPv4 and IPv6, and the files that they fetch by TFTP.
//
// Programs says which program or file a client boots next, and is pure. DHCP and DHCP6 put together what a client is told: its
// turn among the edges, its fixed address or one of a pool (edge/pool), and what to boot. TFTP gives boot programs, kernels, and
// what loaders ask for by names of their own. What all of them know of machines is edge/machines'.
//
// It opens no socket: edge/dhcp, edge/dhcp6 and edge/tftp do, and call it. Names in requests are never used as paths on disk.
package pxe
