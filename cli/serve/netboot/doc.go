// Package netboot wires how firmware finds an edge: DHCP and TFTP over both families, router advertisements, pools of addresses,
// and the addresses at which programs made for clouds ask for their configuration.
//
// It reads flags and opens sockets. What is answered is decided in the packages below edge.
package netboot
