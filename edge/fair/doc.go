// Package fair shares out what an edge can send: clients get their turns one after the other, however many transfers each
// has begun.
//
// A transfer sends a turn's worth of bytes at a time and then waits for its next turn. Turns go round the clients, and within
// a client round its flows (machines behind one address) and their transfers. Three rules make that fair where the bytes are
// taken out of reach, as in the kernel's sockets and in switches:
//
//   - While others want to send, a client has one turn at a time. A line that is full shares itself out among the connections
//     on which something is on its way: so a client has one share of it. A turn goes over to another connection of the same
//     client only when what the first one sent has arrived (Turn.End tells).
//   - The bytes of all turns together are bounded. Who waits behind that bound waits because of this edge, which is measured.
//   - A turn counts for so long as Config.Patience. A client that takes longer is slow: its turns are small and count no more,
//     until it is in time again. So nobody waits for those who do not take their bytes.
//
// core.go decides, and has no clock, lock or goroutine; queue.go is the shell around it. The size of a turn follows what was
// sent lately, so that a round takes about as long however many clients there are: firmware gives up a connection on which
// nothing has come for some seconds (EDK2: 5).
//
// It never sends anything itself, and never ends a transfer.
package fair
