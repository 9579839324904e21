// Package room breaks a real farm while its edges give addresses to thousands of simulated machines, and checks that no
// machine can tell.
//
// Three coordinators and some edges are processes, each in a network namespace of its own (package lab). Machines (package
// dhcpsim) of IPv4 and of IPv6 are behind a relay agent, and some on the edges' segment: they boot, renew, release, move, share
// MACs and lie, while nodes are killed and paused, links are cut and clocks are wrong, one fault after the other in an order that
// a seed decides. In the end, over each family:
//
//   - no address was ever two clients' at a time, as they believed it, and no acknowledged binding was lost (package history);
//   - every well-behaved machine has an address;
//   - the farm's books agree with what the machines believe.
//
// A report says what machines did, and a run in which those of a family did too little fails.
//
// Beside that, an operator's hour replaces a running dnsmasq by two edges, machines that are switched on at once all boot, and
// floods of forged hardware addresses starve nobody.
//
// The short run is part of `make test`: 240 machines of IPv4 and 60 of IPv6. `make chaos` has the long one, with 10,000 and 1,000
// (KILN_DHCP=5m). KILN_DHCP_SEED repeats the behaviour of machines and the order of faults, KILN_DHCP_MACHINES is another number of
// machines of IPv4, a tenth of which is that of IPv6, and KILN_DHCP_LOG a file for every packet. The report is written to the
// directory KILN_CHAOS_REPORT.
package room
