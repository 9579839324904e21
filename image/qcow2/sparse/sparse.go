// Package sparse walks a disk from its start to its end in units (clusters, blocks, grains) and tells those that hold
// something from those that are known to be zeros.
//
// Formats of virtual disks leave the latter out. A list may have many runs and a disk many units, so both are gone through
// once, together.
package sparse

import (
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
)

// Range is Count units from First on that hold something. The last unit of a disk may be a part of one.
type Range struct{ First, Count int64 }

// Ranges are the units of so many bytes that are not known to be zeros, in order and apart from each other.
func Ranges(l *extents.List, unit int64) []Range {
	var out []Range
	var at int64
	for _, e := range l.Runs() {
		first, end := at/unit, (at+e.Length-1)/unit+1
		at += e.Length
		if e.Inline == nil && e.Blob.IsZero() {
			continue
		}
		if n := len(out); n > 0 {
			last := &out[n-1]
			if first <= last.First+last.Count {
				last.Count = max(last.Count, end-last.First)
				continue
			}
		}
		out = append(out, Range{First: first, Count: end - first})
	}
	return out
}

// Cursor takes a list apart from its start on.
type Cursor struct {
	runs []artifact.Extent
	in   int64 // bytes of the first run that are gone
}

// NewCursor is at the start of l.
func NewCursor(l *extents.List) *Cursor { return &Cursor{runs: l.Runs()} }

// Skip goes n bytes on, or to the end.
func (c *Cursor) Skip(n int64) {
	for n > 0 && len(c.runs) > 0 {
		step := min(c.runs[0].Length-c.in, n)
		c.advance(step)
		n -= step
	}
}

// Take are the next n bytes, or what is left.
func (c *Cursor) Take(n int64) *extents.List {
	out := &extents.List{}
	c.TakeTo(out, n)
	return out
}

// TakeTo appends the next n bytes, or what is left, to another list, and returns how many.
func (c *Cursor) TakeTo(out *extents.List, n int64) (taken int64) {
	for taken < n && len(c.runs) > 0 {
		e := c.runs[0]
		part := artifact.Extent{Length: min(e.Length-c.in, n-taken), Blob: e.Blob}
		switch {
		case e.Inline != nil:
			part.Inline = e.Inline[c.in : c.in+part.Length]
		case !e.Blob.IsZero():
			part.Offset = e.Offset + c.in
		}
		out.Add(part)
		c.advance(part.Length)
		taken += part.Length
	}
	return taken
}

func (c *Cursor) advance(n int64) {
	if c.in += n; c.in == c.runs[0].Length {
		c.runs, c.in = c.runs[1:], 0
	}
}
