// Package proto holds the wire of Kiln: the messages that its parts exchange and the records that they keep.
//
// The .proto files are in kiln/v1, with the Go code generated from them beside them (`make proto`). Everything
// that crosses a process boundary, a NATS subject or a restart is defined here and nowhere else, so that a
// change to it is seen as one.
package proto
