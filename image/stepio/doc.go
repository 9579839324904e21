// Package stepio is how runners read the inputs of a step and write its outputs: parameters, blobs, artifacts as extents.
//
// It knows no kind of step, and never schedules or records anything.
package stepio
