// Package history judges what DHCP clients were told, by a model that knows nothing of how servers work.
//
// A history is what clients sent and received, in one order and with the times of one clock. From it the model derives what
// each client believes to have: an address is its own from the ACK on, until the lease time that it was told has passed since
// it sent the REQUEST (RFC 2131 §4.4.1), or it gave the address back, or was refused it. Clients are told apart by hardware
// address, as Kiln does: two machines with the same one are one client.
//
// Over IPv6 the lifetime counts from the REPLY, which tells it; a RELEASE is of one association, and so of one machine only; a CONFIRM
// promises nothing; and a server may give another address than was asked for, if the client has none (RFC 8415 §18).
//
// What must hold: no address is two clients' at overlapping times; a client that asks in time for what it has gets it, and
// nothing else; only the server that a client chose answers its choice, with what was asked for; what is given is in a pool.
//
// The package never sends anything and reads no clock.
package history
