// Package tftp gives files to firmware: most network boot ROMs read their first program by TFTP and by nothing else.
//
// It is read-only and speaks RFC 1350 with the options blksize (RFC 2348), timeout and tsize (RFC 2349) and windowsize
// (RFC 7440). The last one matters: without it each block waits for the one before it, so that 5 ms of distance leave
// 0.3 MB/s; UEFI firmware has asked for windows of 4 blocks since 2018.
//
// What a packet says is parsed by pure functions (packet.go, options.go). A transfer (transfer.go) is a loop over a
// connection to one client: it sends a window, waits for one acknowledgement, and goes on from there. The server
// (server.go) only decides which requests become transfers. Each transfer has a port of its own as RFC 1350 wants it;
// with Server.SinglePort all go through the port that was asked, for firmware behind relays and packet filters that lose
// the others. Answers always come from the address that was asked.
//
// Time lost and resent packets: a transfer keeps one block in memory and reads the file again for what it sends again.
// It answers a repeated acknowledgement only when that can tell of a lost block and not of a block sent twice, so that no
// packet that a network duplicates is duplicated for the rest of the transfer (RFC 1123 §4.2.3.1).
//
// It never writes a file, never makes a path on disk of a name from the wire (Server.Open decides what a name means), and
// never answers anything but read and write requests, so that two servers cannot be made to talk to each other.
package tftp
