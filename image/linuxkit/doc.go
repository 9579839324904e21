// Package linuxkit reads LinuxKit YAML the way people hope a tool reads their files: whatever is wrong is told in
// one sentence, with file and line and what to write instead, before anything is built or sent anywhere.
//
// Load and Gather collect in the client everything that only the client can read (files, URLs and standard input; the
// sources of files: entries) into a ConfigBundle. Check finds faults. Merge turns a checked bundle into LinuxKit's own moby.Moby
// with LinuxKit's own parser, so that the meaning of a document is never ours to invent; Check is stricter than that
// parser in everything the parser would complain about, because it complains on standard output and without places.
//
// The package never resolves an image reference and never writes a file.
package linuxkit
