// Package transfer sends files to machines over HTTP: whole, or the one range that was asked for, with what proxies and firmware
// need to go on where they were. Machines take turns (edge/fair; docs/decisions/0015), so that one with many connections has no
// more of the line than one with one; bytes of files go to the socket without passing through this process.
//
// It never opens a file by a name, and never lets a client wait for more than its own slowness and its turn.
package transfer
