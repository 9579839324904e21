// Package migrate makes Kiln's of what another DHCP server had: subnets and machines of its configuration, bindings of its leases.
// What is not taken over is told with its line and the reason.
//
// It reads no file and asks nobody: what files say comes from package leasefile, and who binds is a function that it is given.
package migrate
