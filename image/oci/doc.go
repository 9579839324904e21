// Package oci reads and makes container images: what a reference, an index and a manifest say, archives that
// other tools exported, and images out of plain directories.
//
// A build begins with references to images. Whoever fetches them (a registry client, or the cache alone) shares
// one understanding of what they mean, which is here: Resolve turns a descriptor and a platform into the blobs
// that make the image, by way of a Fetch that the caller gives. Everything foreign is checked when it is parsed: sizes
// are bounded, digests verified, and a document is either an index or a manifest, never both.
//
// Images that were made (Pack) or imported (Import) on this machine have names in the cache, which come before
// what a registry says.
//
// The package never talks to a network and never unpacks a layer.
package oci
