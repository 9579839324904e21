// Package assemble puts output files together out of what other steps made: the kind "artifact". A file is a list of
// extents, so bytes stay where they are; what is new of a format is a few inline bytes.
//
// A new format is one function in a file of its name and a line in formats.go. What has partitions or directories of its
// own comes from other steps; the package never lays out a file system, and never copies a file's contents but to
// compress them.
package assemble
