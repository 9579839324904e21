// Package terms says for how long: a binding is committed for longer than its client is told, and clients ask for more at times that
// are spread, so that machines which were switched on together do not ask together ever after.
//
// It is arithmetic: no clock, and the same on every edge.
package terms
