// Package probe finds out whether somebody uses an address: by ARP on the segment, and by ICMP echo where there are routers between.
//
// It asks for no address by itself, and remembers nothing.
package probe
