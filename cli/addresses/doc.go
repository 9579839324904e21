// Package addresses is the verbs of subnets and leases, those that bring them from another DHCP server among them.
//
// Who gets which address is the farm's to say. A rehearsal of an import asks the farm's rules in this process and changes nothing.
package addresses
