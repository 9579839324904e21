// Package runners runs the pure kinds of steps, one file each: it reads a request's parameters, has the packages
// beside it do the work, and stores what comes out. All returns every kind.
//
// A runner reads and writes blobs and nothing else: no clock, no network, no names.
package runners
