// Package progress is the duty that makes events of what happens to builds, and of what their steps say, for those who watch.
//
// It never changes anything: whoever watches or not, builds go on alike.
package progress
