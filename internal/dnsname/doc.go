// Package dnsname makes and reads names of DNS: the safe label of what a client calls itself, the names and zones of addresses,
// and names as they are on the wire. Names are in lower case and without the last dot.
//
// It is pure, and its answers are part of what coordinators agree on (coordinator/state): the same text gives the same name in
// every release. It never asks a server.
package dnsname
