// Package forget is the duty that has bindings of IPv6 forgotten that are long over.
//
// It never forgets one that holds, or that has changed since it was looked at.
package forget
