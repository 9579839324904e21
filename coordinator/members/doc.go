// Package members is the duty that looks after the coordinators of a farm: it takes them in, gives them votes when they have
// caught up, removes those that are gone, and raises the feature level when all programs allow it.
//
// It never leaves the farm without a majority that answers, and never decides who leads: that is raft's.
package members
