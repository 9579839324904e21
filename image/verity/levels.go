package verity

import (
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
)

// level has a hash for each block of the level below, the lowest one for each block of data.
type level struct {
	block  []byte         // not whole yet
	blocks int64          // that are done
	done   []byte         // those blocks, but for the lowest level's
	last   [hashSize]byte // hash of the last of them
}

// add adds a hash to a level.
func (w *Writer) add(n int, sum [hashSize]byte) error {
	if n == len(w.levels) {
		w.levels = append(w.levels, &level{block: make([]byte, 0, BlockSize)})
	}
	l := w.levels[n]
	if l.block = append(l.block, sum[:]...); len(l.block) < BlockSize {
		return nil
	}
	return w.end(n)
}

// end ends a level's block and adds its hash to the level above.
func (w *Writer) end(n int) error {
	l := w.levels[n]
	block := l.block[:BlockSize]
	clear(block[len(l.block):])
	l.block = l.block[:0]
	l.last = w.hash.sum(block)
	l.blocks++
	if n > 0 {
		l.done = append(l.done, block...)
	} else if _, err := w.lowest.Write(block); err != nil {
		return err
	}
	return w.add(n+1, l.last)
}

// tree ends all levels and returns the root hash and the hash blocks, the highest level first. The highest is the first
// level of one block, whose hash is the root hash; a single block of data needs none.
func (w *Writer) tree() (root [hashSize]byte, hashes *extents.List, err error) {
	if w.blocks == 1 {
		return [hashSize]byte(w.levels[0].block), &extents.List{}, nil
	}
	top := 0
	for ; ; top++ {
		if len(w.levels[top].block) > 0 {
			if err := w.end(top); err != nil {
				return root, nil, err
			}
		}
		if w.levels[top].blocks == 1 {
			break
		}
	}
	var upper []byte
	for n := top; n > 0; n-- {
		upper = append(upper, w.levels[n].done...)
	}
	if hashes, err = w.store(upper); err != nil {
		return root, nil, err
	}
	d, size, err := w.lowest.Commit()
	if err != nil {
		return root, nil, err
	}
	hashes.Add(artifact.Extent{Blob: d, Length: size})
	return w.levels[top].last, hashes, nil
}

// inlineHashes is the size up to which the upper levels are in the artifact's description, and not in a blob.
const inlineHashes = 128 << 10

func (w *Writer) store(upper []byte) (*extents.List, error) {
	if len(upper) <= inlineHashes {
		return extents.Bytes(upper), nil
	}
	draft, err := w.blobs.Create(w.ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	if _, err := draft.Write(upper); err != nil {
		return nil, err
	}
	d, size, err := draft.Commit()
	return extents.Blob(d, size), err
}
