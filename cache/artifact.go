package cache

// Artifact is a file described by what it is made of, so that a disk image costs no copy of the root
// filesystem within it. A reader sees one file with a size, a digest and ranges (see ArtifactReader).
type Artifact struct {
	Digest  Digest // of the artifact's own bytes; zero for one that is only ever part of another
	Size    int64
	Extents []Extent
}

// Extent is a run of an artifact's bytes. Exactly one of the three is used: Inline when it is not nil, Blob
// when it is not zero, else zeros.
type Extent struct {
	Length int64
	Blob   Digest
	Offset int64  // in Blob
	Inline []byte // of Length bytes
}
