// Package gpt lays out disks with a GUID partition table, which UEFI firmware starts from.
//
// A disk image is its partitions with a table before them and a copy of it after them: Build writes the tables inline and
// takes the partitions as they are. Partitions begin at multiples of 1 MiB, in the order that they are given, and the first at 1 MiB.
//
// Source: UEFI specification 2.10, chapter 5; the types of partitions are those of the UAPI group's Discoverable Partitions
// Specification. UUIDs are in the order that one reads them in; Build writes the mixed-endian form.
//
// It reads no clock and makes no random number: ids are options, and UUID makes them from what is known.
package gpt
