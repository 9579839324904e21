// Package recheck reads a blob a second time of which somebody says that it is gone or damaged, once for all who say so.
//
// It never believes the first reader alone, and never says what follows from its answer.
package recheck
