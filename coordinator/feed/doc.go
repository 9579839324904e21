// Package feed holds the events of builds for those who watch them, a bounded number of bytes of each: who is further behind gets
// what a build has come to instead.
//
// It knows what an event is made of, and never where one comes from.
package feed
