package extents

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
)

// render is what a list says, with blobs of which each byte tells its offset.
func render(l *List) []byte {
	var out []byte
	for _, e := range l.Runs() {
		for i := range e.Length {
			switch {
			case e.Inline != nil:
				out = append(out, e.Inline[i])
			case !e.Blob.IsZero():
				out = append(out, byte(e.Offset+i))
			default:
				out = append(out, 0)
			}
		}
	}
	return out
}

func TestSlicesOfAnyList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	blob := cache.SumBytes([]byte("blob"))
	for range 200 {
		l := &List{}
		for range random.IntN(8) {
			switch n := int64(random.IntN(20)); random.IntN(3) {
			case 0:
				l.Bytes(bytes.Repeat([]byte{byte(n)}, int(n)))
			case 1:
				l.Zeros(n)
			default:
				l.Add(artifact.Extent{Blob: blob, Offset: int64(random.IntN(100)), Length: n})
			}
		}
		whole := render(l)
		if int64(len(whole)) != l.Size() {
			t.Fatalf("size %d, want %d", l.Size(), len(whole))
		}
		off := int64(random.IntN(len(whole) + 1))
		n := int64(random.IntN(len(whole) - int(off) + 1))
		part := l.Slice(off, n)
		if got, want := render(part), whole[off:off+n]; !bytes.Equal(got, want) || part.Size() != n {
			t.Fatalf("slice of %d at %d: %v, want %v", n, off, got, want)
		}
		if l.IsZeros(off, n) && len(bytes.Trim(whole[off:off+n], "\x00")) > 0 {
			t.Fatalf("%d bytes at %d are no zeros", n, off)
		}
	}
}

func TestRunsThatContinueEachOtherAreJoined(t *testing.T) {
	blob := cache.SumBytes([]byte("blob"))
	l := &List{}
	l.Add(artifact.Extent{Blob: blob, Length: 5}, artifact.Extent{Blob: blob, Offset: 5, Length: 3}, artifact.Extent{Blob: blob, Offset: 9, Length: 1})
	l.Zeros(3)
	l.Align(8)
	if got := len(l.Runs()); got != 3 || l.Size() != 16 {
		t.Errorf("%d runs of %d bytes", got, l.Size())
	}
	if err := l.To(10); err == nil {
		t.Error("16 bytes fit into 10")
	}
}
