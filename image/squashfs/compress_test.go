package squashfs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

func TestBytesDoNotDependOnProcessors(t *testing.T) {
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			s := fstreetest.New(t)
			lower, upper := fstreetest.Awkward(blockSize, fstreetest.Limits{})
			p := s.Part(append(append(fstreetest.Many(2000), lower...), upper...)...)
			var want *Compressed
			for _, processors := range []int{1, 2, 3, 9} {
				before := runtime.GOMAXPROCS(processors)
				got, err := Compress(context.Background(), s.Blobs, p, fstree.Options{}, c)
				runtime.GOMAXPROCS(before)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if *got != *want {
					t.Errorf("with %d processors %+v, with one %+v", processors, got, want)
				}
			}
		})
	}
}

func TestCompressTellsWhatItCannotRead(t *testing.T) {
	s := fstreetest.New(t)
	gone := fstreetest.File("etc/gone", "")
	gone.Body = tree.Body{Blob: cache.SumBytes([]byte("gone")), Size: 1000}
	long := fstreetest.File("etc/long", "")
	d, _ := s.Put(&zeroReader{10})
	long.Body = tree.Body{Blob: d, Size: 1 << 40}
	for _, c := range []struct {
		name string
		of   fstreetest.Item
		want string
	}{
		{"a blob that is gone", gone, "etc/gone: blob " + cache.SumBytes([]byte("gone")).String() + " is not in the cache"},
		{"a body that is longer than its blob", long, fmt.Sprintf("etc/long: a body of %d bytes at 0 is beyond blob %s", 1<<40, d)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compress(context.Background(), s.Blobs, s.Part(append(fstreetest.Many(50), c.of)...), fstree.Options{}, Gzip)
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			var missing *step.MissingBlob
			if isMissing := errors.As(err, &missing); isMissing != (c.of.Name == "etc/gone") {
				t.Errorf("error %v is a missing blob: %v", err, isMissing)
			}
		})
	}
	if _, err := Compress(context.Background(), s.Blobs, s.Part(), fstree.Options{}, "lzma"); err == nil {
		t.Error("there is no lzma here")
	}
}

func TestCompressStops(t *testing.T) {
	s := fstreetest.New(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	p := s.Part(fstreetest.Many(500)...)
	cancel(enough)
	if _, err := Compress(ctx, s.Blobs, p, fstree.Options{}, Zstd); !errors.Is(err, context.Canceled) && !errors.Is(err, enough) {
		t.Errorf("error %v, want that it was stopped", err)
	}
}

func BenchmarkCompress(b *testing.B) {
	for _, c := range compressions {
		b.Run(string(c), func(b *testing.B) {
			s := fstreetest.New(b)
			items := append(programs(b), fstreetest.Many(2000)...)
			size := int64(0)
			for _, i := range items {
				size += int64(len(i.Contents))
			}
			p := s.Part(items...)
			b.SetBytes(size)
			var out *Compressed
			for b.Loop() {
				var err error
				if out, err = Compress(context.Background(), s.Blobs, p, fstree.Options{}, c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(100*float64(out.BlocksSize)/float64(size), "%size")
		})
	}
}
