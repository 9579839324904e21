// Package serve is the verbs that run a part of a farm until they are told to end: server, coordinator, builder, edge. It is wiring:
// flags, data directories, connections, and the order in which all of it is opened and closed.
//
// What the parts do is in packages coordinator, builder and edge.
package serve
