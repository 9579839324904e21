// Package logins finds the login for a registry where docker and podman keep them: in files, in an environment variable, and
// with credential helpers.
//
// What is wrong with a file or a helper is told as such, with the place: a build that goes on without a login that somebody
// has set up would end with a registry's refusal, or with another image. A helper is a program of others: it may hang, print
// anything, or not be there.
//
// The package keeps nothing and changes nothing. It never puts a secret, or what might be one, into an error.
package logins
