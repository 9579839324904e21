// Package extents builds files out of bytes that are elsewhere.
//
// Disk images, ISOs and unified kernel images hold an initrd or a root filesystem that is in the cache already.
// Their writers lay out a List of runs: inline bytes for tables and headers, ranges of blobs for contents, zeros for
// gaps. Nothing is copied; whoever reads the artifact sees one file.
package extents

import (
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
)

// List is a file in the making. The zero List is an empty one. Runs that continue each other are joined.
type List struct {
	runs []artifact.Extent
	size int64
}

// Of is the list of an artifact's runs.
func Of(a *artifact.Artifact) *List {
	l := &List{}
	l.Add(a.Extents...)
	return l
}

// Blob is a whole blob of size bytes.
func Blob(d cache.Digest, size int64) *List {
	l := &List{}
	l.Add(artifact.Extent{Blob: d, Length: size})
	return l
}

// Bytes are inline bytes, which the list keeps: do not change them.
func Bytes(p []byte) *List {
	l := &List{}
	l.Bytes(p)
	return l
}

// Size is the file's length so far, in bytes.
func (l *List) Size() int64 { return l.size }

// Runs are the file's contents in their order. Do not change them.
func (l *List) Runs() []artifact.Extent { return l.runs }

// Artifact describes the file, without its digest.
func (l *List) Artifact() *artifact.Artifact {
	return &artifact.Artifact{Size: l.size, Extents: l.runs}
}

// Add appends runs; empty ones are left out.
func (l *List) Add(runs ...artifact.Extent) {
	for _, e := range runs {
		if e.Length <= 0 {
			continue
		}
		l.size += e.Length
		if n := len(l.runs); n > 0 && l.runs[n-1].Inline == nil && e.Inline == nil {
			last := &l.runs[n-1]
			if last.Blob == e.Blob && (e.Blob.IsZero() || last.Offset+last.Length == e.Offset) {
				last.Length += e.Length
				continue
			}
		}
		l.runs = append(l.runs, e)
	}
}

// Append appends all of another list.
func (l *List) Append(other *List) { l.Add(other.runs...) }

// Bytes appends inline bytes, which the list keeps: do not change them.
func (l *List) Bytes(p []byte) {
	if len(p) > 0 {
		l.Add(artifact.Extent{Length: int64(len(p)), Inline: p})
	}
}

// Zeros appends n zero bytes.
func (l *List) Zeros(n int64) { l.Add(artifact.Extent{Length: n}) }

// Align appends zeros up to a multiple of n bytes.
func (l *List) Align(n int64) { l.Zeros((n - l.size%n) % n) }

// To appends zeros until the file is size bytes long. It is an error when it is longer already.
func (l *List) To(size int64) error {
	if l.size > size {
		return fmt.Errorf("%d bytes do not fit into %d", l.size, size)
	}
	l.Zeros(size - l.size)
	return nil
}

// Slice is n bytes from off, which must be there.
func (l *List) Slice(off, n int64) *List {
	out := &List{}
	for _, e := range l.runs {
		if n == 0 {
			break
		}
		if off >= e.Length {
			off -= e.Length
			continue
		}
		take := min(e.Length-off, n)
		part := artifact.Extent{Length: take, Blob: e.Blob}
		if !e.Blob.IsZero() {
			part.Offset = e.Offset + off
		}
		if e.Inline != nil {
			part.Inline = e.Inline[off : off+take]
		}
		out.Add(part)
		off, n = 0, n-take
	}
	return out
}

// IsZeros says that all n bytes from off are known to be zeros: those of runs of zeros, not of blobs or inline bytes.
func (l *List) IsZeros(off, n int64) bool {
	for _, e := range l.runs {
		if n <= 0 {
			break
		}
		if off >= e.Length {
			off -= e.Length
			continue
		}
		if e.Inline != nil || !e.Blob.IsZero() {
			return false
		}
		n -= e.Length - off
		off = 0
	}
	return true
}
