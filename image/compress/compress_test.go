package compress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// text is n bytes that compress like programs do: words repeated at many distances among noise.
func text(n int) []byte {
	r := rand.New(rand.NewSource(1))
	words := make([][]byte, 500)
	for i := range words {
		words[i] = make([]byte, 3+r.Intn(20))
		r.Read(words[i])
	}
	out := make([]byte, 0, n+32)
	for len(out) < n {
		out = append(out, words[r.Intn(len(words))]...)
	}
	return out[:n]
}

func compressed(t testing.TB, name string, in []byte, piece int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(name, &out)
	if err != nil {
		t.Fatal(err)
	}
	for rest := in; len(rest) > 0; {
		n := min(piece, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestGzipIsOneAlignedMemberThatOthersRead(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 4, 5, window, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 77} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			in := text(size)
			out := compressed(t, NameGzip, in, 10000)
			if len(out)%4 != 0 {
				t.Errorf("%d bytes are no multiple of 4", len(out))
			}
			r := bytes.NewReader(out)
			z, err := gzip.NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			z.Multistream(false)
			got, err := io.ReadAll(z)
			if err != nil || !bytes.Equal(got, in) {
				t.Errorf("read %d bytes back, error %v; want %d", len(got), err, len(in))
			}
			if r.Len() != 0 {
				t.Errorf("%d bytes follow the member", r.Len())
			}
		})
	}
}

func TestBytesDoNotDependOnProcessorsOrWrites(t *testing.T) {
	in := text(5*chunkSize + 12345)
	for _, name := range []string{NameGzip, NameZstd} {
		t.Run(name, func(t *testing.T) {
			want := compressed(t, name, in, len(in))
			for _, processors := range []int{1, 2, 7} {
				before := runtime.GOMAXPROCS(processors)
				got := compressed(t, name, in, 4093)
				runtime.GOMAXPROCS(before)
				if !bytes.Equal(got, want) {
					t.Errorf("with %d processors the bytes differ", processors)
				}
			}
		})
	}
}

func TestZstdReadsBack(t *testing.T) {
	in := text(2<<20 + 3)
	r, err := zstd.NewReader(bytes.NewReader(compressed(t, NameZstd, in, 65536)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, in) {
		t.Errorf("read %d bytes back, error %v", len(got), err)
	}
}

func TestUnknownCompressionIsNamed(t *testing.T) {
	_, err := NewWriter("lzma", io.Discard)
	if want := `unknown compression "lzma"; there are gzip and zstd`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

type failing struct{ left int }

var errDisk = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestGzipReportsTheWriterBelow(t *testing.T) {
	g := NewGzip(&failing{left: chunkSize / 2})
	in := make([]byte, chunkSize)
	rand.New(rand.NewSource(2)).Read(in)
	for range 20 {
		g.Write(in)
	}
	if err := g.Close(); !errors.Is(err, errDisk) {
		t.Errorf("Close = %v, want %v", err, errDisk)
	}
	if err := g.Close(); !errors.Is(err, errDisk) {
		t.Errorf("second Close = %v, want %v", err, errDisk)
	}
}
