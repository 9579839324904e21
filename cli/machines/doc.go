// Package machines is the verbs of what machines boot: apply and diff, machines, groups, releases, and what machines did on their
// way. They work on a farm and on a host that is its own farm.
//
// What an intent is and what makes sense in one is package fleet's to say.
package machines
