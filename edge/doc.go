// Package edge is what boots machines from the network, put together of its protocols and of what they share: edge/httpboot over
// HTTP, edge/pxe by DHCP and TFTP, edge/machines, edge/content and edge/peers beneath them (docs/decisions/0021).
//
// Bytes come from the cache and from nowhere else, and which machines there are from the last intent that somebody has set. What an
// edge needs of a farm beside that comes in by functions (what machines do, secrets that are read once, bindings of addresses), so
// that any number of edges may run beside one cache, and any of them may die. An edge never writes to the cache, and never asks
// the farm by itself.
package edge
