// Package explain says why each step of a build ran or did not, by comparing its record with the one of the last
// build of the same name: the key of a step is made of its kind, parameters and inputs, so that what differs between
// two keys is the reason.
//
// It compares two values and knows nothing of farms or files.
package explain
