// Package wrap holds behaviours that any store may have, each a wrapper in a file of its own: Verifying for one that
// cannot vouch for its bytes, ReadThrough for a directory in front of one that others share, Limited for one that many
// would overload, Presence for one that is far away, Traced for whoever wants to see where the time goes. Their comments
// say where in a row of wrappers they belong.
//
// It never knows which backend it wraps, and opens none.
package wrap
