// Package nsupdate sends dynamic updates to DNS servers, one after the other over a connection that stays open, signed where a key
// is named (TSIG, RFC 8945).
//
// Keys come from a file of this host and go nowhere else: they are in no log, no message and no state. What to send, and what
// answers mean, is package ddns's to say.
package nsupdate
