// Package userfile opens files that people name: on a command line, in a configuration, below a directory of theirs. Such a
// name may be that of a named pipe, a socket or a device, and opening or reading one of those may wait for ever, or do
// something (a watchdog starts, a tape winds back). So it is looked at first, opened without waiting, and looked at again;
// what is no regular file is refused with a sentence.
//
// A shell hands its pipes over by names such as /dev/stdin and /dev/fd/63 (process substitution). Those are read, where a
// file is read once from beginning to end; such reads, and those of standard input, end with their context, so that a
// signal is heard.
//
// Outputs may go to pipes and devices: Output waits for a pipe's reader, and no longer than its context.
//
// The package never follows a name out of a directory it was given for its own sake (os.Root does that), and never
// removes or replaces a file.
package userfile
