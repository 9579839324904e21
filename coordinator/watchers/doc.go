// Package watchers is the duty that knows which builds somebody watches, and cancels those that nobody does any more.
//
// It never cancels a build that was submitted to go on alone.
package watchers
