//go:build linux

package main

import (
	"strings"

	"golang.org/x/sys/unix"
)

// mountFlag is what an option of mount(8) does to the flags of mount(2).
type mountFlag struct {
	flag  uintptr
	clear bool
}

func mountFlags() map[string]mountFlag {
	return map[string]mountFlag{
		"defaults": {}, "bind": {flag: unix.MS_BIND}, "rbind": {flag: unix.MS_BIND | unix.MS_REC},
		"ro": {flag: unix.MS_RDONLY}, "rw": {flag: unix.MS_RDONLY, clear: true},
		"nosuid": {flag: unix.MS_NOSUID}, "suid": {flag: unix.MS_NOSUID, clear: true},
		"nodev": {flag: unix.MS_NODEV}, "dev": {flag: unix.MS_NODEV, clear: true},
		"noexec": {flag: unix.MS_NOEXEC}, "exec": {flag: unix.MS_NOEXEC, clear: true},
		"sync": {flag: unix.MS_SYNCHRONOUS}, "async": {flag: unix.MS_SYNCHRONOUS, clear: true},
		"dirsync": {flag: unix.MS_DIRSYNC}, "remount": {flag: unix.MS_REMOUNT},
		"mand": {flag: unix.MS_MANDLOCK}, "nomand": {flag: unix.MS_MANDLOCK, clear: true},
		"noatime": {flag: unix.MS_NOATIME}, "atime": {flag: unix.MS_NOATIME, clear: true},
		"nodiratime": {flag: unix.MS_NODIRATIME}, "diratime": {flag: unix.MS_NODIRATIME, clear: true},
		"relatime": {flag: unix.MS_RELATIME}, "norelatime": {flag: unix.MS_RELATIME, clear: true},
		"strictatime": {flag: unix.MS_STRICTATIME}, "nostrictatime": {flag: unix.MS_STRICTATIME, clear: true},
		"private": {flag: unix.MS_PRIVATE}, "rprivate": {flag: unix.MS_PRIVATE | unix.MS_REC},
		"shared": {flag: unix.MS_SHARED}, "rshared": {flag: unix.MS_SHARED | unix.MS_REC},
		"slave": {flag: unix.MS_SLAVE}, "rslave": {flag: unix.MS_SLAVE | unix.MS_REC},
		"unbindable": {flag: unix.MS_UNBINDABLE},
	}
}

// mountOptions parts the options of mount(8) into flags and what the filesystem reads itself.
func mountOptions(options []string) (flags uintptr, data string) {
	known := mountFlags()
	var rest []string
	for _, option := range options {
		f, ok := known[option]
		switch {
		case !ok:
			rest = append(rest, option)
		case f.clear:
			flags &^= f.flag
		default:
			flags |= f.flag
		}
	}
	return flags, strings.Join(rest, ",")
}
