package squashfs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

// TestBytesStayTheSame notices a compressor, or a layout, that gives other bytes than before. That is no fault, but the
// steps that call this package then need new versions, or builders of two releases make different images of one step.
func TestBytesStayTheSame(t *testing.T) {
	var lines strings.Builder
	for i := range 60000 {
		fmt.Fprintf(&lines, "%d times %x is %d\n", i, i*7919, i*i*7919)
	}
	items := []fstreetest.Item{
		fstreetest.Dir("etc"), fstreetest.File("etc/lines", lines.String()), fstreetest.File("etc/few", lines.String()[:5000]),
		fstreetest.File("etc/noise", noise(blockSize+1000, 1)), fstreetest.Soft("etc/link", "few"),
	}
	for _, c := range []struct {
		compression Compression
		want        string
	}{
		{Gzip, "sha256:df1825447e86f450dabda99fa3cdba85f9e7aa6e9045f93118287d5169c3d509"},
		{Zstd, "sha256:8bb2153c8317e7d9686583d38e8afb44ed2f8e9f9e991fdc7dc10777d01bf354"},
	} {
		t.Run(string(c.compression), func(t *testing.T) {
			s := fstreetest.New(t)
			p := s.Part(items...)
			part, err := Compress(t.Context(), s.Blobs, p, fstree.Options{}, c.compression)
			if err != nil {
				t.Fatal(err)
			}
			list, err := Assemble(t.Context(), s.Blobs, s.Build(fstree.Options{}, p), []Compressed{*part}, Options{Compression: c.compression})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			s.Copy(&b, list.Artifact())
			if got := cache.SumBytes(b.Bytes()).String(); got != c.want {
				t.Errorf("image %s, want %s", got, c.want)
			}
		})
	}
}
