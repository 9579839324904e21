// Package cli is the kiln command: it puts together the verbs of the groups below it, gives flags the variables that stand for
// them, and turns what went wrong into one sentence and an exit code (package ui): 0 done, 1 the build failed, 2 the command or its
// input is wrong, 3 the farm cannot be reached.
//
// Verbs are in a folder for each group: build, builds, image, machines, addresses, admin, serve. They read flags, check them, and
// call packages that know nothing of a command line. No group knows another one; what several need is in ui, access, history,
// member, client and embedded. docs/decisions/0017-rooms-cli.md draws it, and shows how a verb is added.
//
// Results go to standard output; progress, messages and logs go to standard error. No verb leaves a file behind that
// is not whole.
package cli
