// Package dhcpsim is thousands of DHCP clients in one process: firmware, iPXE and operating systems of machines that are
// switched on and off, move, share a MAC with another, or lie.
//
// Most are behind a relay agent, which the package is as well; some are directly on a segment, with frames and ARP of their
// own. All they do comes from a seed, times are those of the monotonic clock, and one goroutine does everything but receive,
// so that a history has one order. Package history says whether what they were told is right.
//
// The package knows nothing of any server: the same clients were tried on dnsmasq and Kea.
package dhcpsim
