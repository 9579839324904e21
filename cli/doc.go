// Package cli is the kiln command: one file for each verb, and the wiring of the parts of a farm.
//
// Verbs read flags, check them, and call packages that know nothing of a command line. Whatever goes wrong ends in
// Main, which prints one sentence and turns the error into an exit code (see errors.go): 0 done, 1 the build failed,
// 2 the command or its input is wrong, 3 the farm cannot be reached.
//
// Results go to standard output; progress, messages and logs go to standard error. No verb leaves a file behind that
// is not whole.
package cli
