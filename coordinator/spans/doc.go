// Package spans keeps the open spans of builds and of leased steps, so that a trace goes from the client through the farm.
//
// It never samples: that is the business of whoever set OpenTelemetry up.
package spans
