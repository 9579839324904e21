// Package history finds builds that were: at a farm, or in the cache of this machine, under one interface for the verbs that
// look at them or go on from them.
//
// It changes no build and prints nothing.
package history
