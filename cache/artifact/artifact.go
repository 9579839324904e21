// Package artifact describes files by what they are made of: runs of blobs, zeros, and bytes of their own. So an output
// that is a kernel, a root filesystem and a few tables costs no copy of any of them, and is read as one file.
//
// It never makes such a file: image/ lays formats out, and this package encodes, records and reads what comes of that.
package artifact

import "github.com/kiln-farm/kiln/cache"

// Artifact is a file described by what it is made of, so that a disk image costs no copy of the root
// filesystem within it. A reader sees one file with a size, a digest and ranges (see Reader).
type Artifact struct {
	Digest  cache.Digest // of the artifact's own bytes; zero for one that is only ever part of another
	Size    int64
	Extents []Extent
}

// Extent is a run of an artifact's bytes. Exactly one of the three is used: Inline when it is not nil, Blob
// when it is not zero, else zeros.
type Extent struct {
	Length int64
	Blob   cache.Digest
	Offset int64  // in Blob
	Inline []byte // of Length bytes
}
