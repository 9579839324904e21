// Package httpboot answers machines over HTTP: files of builds and releases, scripts for iPXE, configuration of systems, and boot
// programs; and people with a page of the latest builds.
//
// Paths in requests are looked up among records, digests and tokens, and are never used as paths on disk. It gives what
// edge/content opens and says what edge/machines says; it never writes, and never talks to the farm.
package httpboot
