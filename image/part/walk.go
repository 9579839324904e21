package part

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// DefaultTime is the time of every entry that LinuxKit makes up: about when it was published.
var DefaultTime = time.Date(2017, time.April, 18, 16, 30, 0, 0, time.UTC)

// Walk calls yield for every entry of the part, in LinuxKit's order. Entries may be changed by yield.
func Walk(ctx context.Context, blobs cache.Blobs, root step.Root, trees []cache.Digest, yield func(*tree.Entry) error) error {
	switch root.Rule {
	case step.RuleAPK:
		return walkAPK(ctx, blobs, trees, yield)
	case step.RulePlain, step.RuleImage, step.RuleKernel:
		if len(trees) != 1 {
			return fmt.Errorf("a part of rule %q has %d trees, not one", root.Rule, len(trees))
		}
	default:
		return fmt.Errorf("unknown rule %q", root.Rule)
	}
	switch root.Rule {
	case step.RuleImage:
		return walkImage(ctx, blobs, root, trees[0], yield)
	case step.RuleKernel:
		return walkKernel(ctx, blobs, root, trees[0], yield)
	}
	return Each(ctx, blobs, trees[0], yield)
}

// Each calls f for every entry of the tree whose index is the blob with that digest.
func Each(ctx context.Context, blobs cache.Blobs, index cache.Digest, f func(*tree.Entry) error) error {
	blob, err := Open(ctx, blobs, index)
	if err != nil {
		return err
	}
	defer blob.Close()
	r, err := tree.NewReader(blob.Section(0, blob.Size))
	if err != nil {
		return fmt.Errorf("tree %s: %w", index, err)
	}
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tree %s: %w", index, err)
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// Open opens a blob; an absent one is a step.MissingBlob.
func Open(ctx context.Context, blobs cache.Blobs, d cache.Digest) (*cache.File, error) {
	f, err := blobs.Open(ctx, d)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, &step.MissingBlob{Digest: d}
	}
	return f, err
}

// files opens each blob once for a stream of entries.
type files struct {
	ctx   context.Context
	blobs cache.Blobs
	open  map[cache.Digest]*cache.File
}

func newFiles(ctx context.Context, blobs cache.Blobs) *files {
	return &files{ctx: ctx, blobs: blobs, open: map[cache.Digest]*cache.File{}}
}

// maxOpenFiles bounds descriptors: a part seldom has more than one body blob, an OCI layout has one for each of its own.
const maxOpenFiles = 32

// body returns a reader of an entry's body.
func (f *files) body(b tree.Body) (io.Reader, error) {
	if b.Inline != nil || b.Size == 0 {
		return &inlineReader{b.Inline}, nil
	}
	file, ok := f.open[b.Blob]
	if !ok {
		if len(f.open) >= maxOpenFiles {
			f.close()
		}
		var err error
		if file, err = Open(f.ctx, f.blobs, b.Blob); err != nil {
			return nil, err
		}
		f.open[b.Blob] = file
	}
	if b.Offset < 0 || b.Size < 0 || b.Offset > file.Size-b.Size {
		return nil, fmt.Errorf("a body of %d bytes at %d is beyond blob %s", b.Size, b.Offset, b.Blob)
	}
	return file.Section(b.Offset, b.Size), nil
}

func (f *files) close() {
	for d, file := range f.open {
		file.Close()
		delete(f.open, d)
	}
}

type inlineReader struct{ rest []byte }

func (r *inlineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
