// Package machines is the duty that knows which edges watch what machines are to boot, and what machines did lately, which it
// writes to the cache a while later.
//
// It never decides what a machine boots, and what it loses when leaders change is in the cache.
package machines
