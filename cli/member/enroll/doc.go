// Package enroll gets certificates of a farm: with a join token for whoever has none yet, and anew for whoever's will
// expire. A token carries the fingerprint of the farm's authority, so that who joins can be sure whom it talks to
// before it has shown anything.
//
// The private key is made here and never leaves the process but for the file that its owner keeps it in.
package enroll
