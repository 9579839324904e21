// Package bus lets the parts of a farm talk over NATS without knowing it: typed requests and messages with
// protobuf payloads, deadlines and trace context in headers, and one list of subjects.
//
// Everything on the bus is delivered at most once and may be lost. A request that nobody listens for fails
// with ErrNoLeader at once; one that times out proves nothing, and its sender repeats it. Payloads stay at or
// under MaxPayload: bytes go by digest through the cache.
//
// The package embeds a NATS server for farms that bring none. With no address to listen on, it is reached
// inside the process only and opens no port.
//
// It never retries, never queues for a peer that is away, and never interprets a message.
package bus
