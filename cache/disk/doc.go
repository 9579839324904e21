// Package disk is the backend that keeps a cache in a directory: all there is on one machine, and what is in front of a
// shared store elsewhere. It is a cache.Store and a cache.Blobs, safe for many processes at once, any of which may be
// killed at any moment.
//
// It never syncs: what a power cut may have spoilt is found when it is read, blobs by their stamp, records by their
// trailer. It never fetches anything, and it never removes a value by itself unless that is not what its key says.
package disk
