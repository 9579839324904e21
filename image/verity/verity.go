package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
)

// BlockSize is that of data and of hashes, in bytes.
const BlockSize = 4096

const (
	hashSize = sha256.Size
	maxSalt  = 256 // struct verity_sb
)

// Options shape a tree.
type Options struct {
	Salt       []byte   // up to 256 bytes; nil for DefaultSalt
	UUID       [16]byte // of the superblock; zero for one made from the root hash
	Superblock bool     // with the superblock that veritysetup looks for, one block before the hashes
}

// DefaultSalt is the same for all images: a salt protects from tables of known hashes, which nobody makes of image
// blocks, and the same image must have the same tree.
func DefaultSalt() []byte {
	sum := sha256.Sum256([]byte("kiln dm-verity salt 1"))
	return sum[:]
}

// Tree is a hash tree.
type Tree struct {
	Root   [hashSize]byte // the root hash
	Salt   []byte
	UUID   [16]byte
	Blocks int64         // of data
	Hashes *extents.List // the hash device: the superblock, when it was asked for, and the tree from its root down
}

// RootHash is the root hash in hexadecimal, as veritysetup takes it.
func (t *Tree) RootHash() string { return hex.EncodeToString(t.Root[:]) }

// Build makes the tree of an artifact.
func Build(ctx context.Context, blobs cache.Blobs, a *artifact.Artifact, options Options) (*Tree, error) {
	r, err := artifact.Open(ctx, blobs, a)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	w, err := NewWriter(ctx, blobs, options)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if _, err := r.WriteTo(w); err != nil {
		return nil, err
	}
	return w.Finish()
}

// Writer makes a tree of the data that is written to it. Finish gives the tree; Abort drops it, and does nothing after
// Finish.
type Writer struct {
	ctx     context.Context
	blobs   cache.Blobs
	options Options
	hash    *hasher
	block   []byte      // of data, not whole yet
	lowest  cache.Draft // the blocks of levels[0]
	levels  []*level    // the lowest, which has the hashes of data, first
	blocks  int64       // of data
}

// NewWriter starts a tree whose hashes of data become a blob.
func NewWriter(ctx context.Context, blobs cache.Blobs, options Options) (*Writer, error) {
	if options.Salt == nil {
		options.Salt = DefaultSalt()
	}
	if len(options.Salt) > maxSalt {
		return nil, fmt.Errorf("a salt of %d bytes is too long for dm-verity, which takes %d", len(options.Salt), maxSalt)
	}
	draft, err := blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &Writer{ctx: ctx, blobs: blobs, options: options, hash: newHasher(options.Salt), block: make([]byte, 0, BlockSize), lowest: draft}, nil
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(w.block) == 0 && len(p) >= BlockSize {
			if err := w.data(p[:BlockSize]); err != nil {
				return total - len(p), err
			}
			p = p[BlockSize:]
			continue
		}
		n := min(len(p), BlockSize-len(w.block))
		w.block = append(w.block, p[:n]...)
		p = p[n:]
		if len(w.block) == BlockSize {
			if err := w.data(w.block); err != nil {
				return total - len(p), err
			}
			w.block = w.block[:0]
		}
	}
	return total, nil
}

// data takes a block of data.
func (w *Writer) data(block []byte) error {
	w.blocks++
	return w.add(0, w.hash.sum(block))
}

// Finish ends the tree.
func (w *Writer) Finish() (*Tree, error) {
	defer w.Abort()
	if w.blocks == 0 || len(w.block) > 0 {
		return nil, fmt.Errorf("dm-verity takes whole blocks of %d bytes, but the data has %d bytes; pad it with zeros",
			BlockSize, w.blocks*BlockSize+int64(len(w.block)))
	}
	t := &Tree{Salt: w.options.Salt, UUID: w.options.UUID, Blocks: w.blocks, Hashes: &extents.List{}}
	root, hashes, err := w.tree()
	if err != nil {
		return nil, fmt.Errorf("store a dm-verity tree: %w", err)
	}
	t.Root = root
	if w.options.Superblock {
		if t.UUID == ([16]byte{}) {
			t.UUID = identify(t.Root)
		}
		t.Hashes.Bytes(t.superblock())
	}
	t.Hashes.Append(hashes)
	return t, nil
}

// Abort drops what is not finished.
func (w *Writer) Abort() { w.lowest.Abort() }

// hasher makes salted hashes of blocks.
type hasher struct {
	salted []byte // the salt, and room for a block
	salt   int
	zeros  [hashSize]byte // of a block of zeros, of which images have many
}

var noData [BlockSize]byte

func newHasher(salt []byte) *hasher {
	h := &hasher{salted: make([]byte, len(salt)+BlockSize), salt: len(salt)}
	copy(h.salted, salt)
	h.zeros = sha256.Sum256(h.salted)
	return h
}

func (h *hasher) sum(block []byte) [hashSize]byte {
	if bytes.Equal(block, noData[:]) {
		return h.zeros
	}
	copy(h.salted[h.salt:], block)
	return sha256.Sum256(h.salted)
}
