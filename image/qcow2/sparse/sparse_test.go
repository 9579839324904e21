package sparse

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
)

func anyList(random *rand.Rand) *extents.List {
	l := &extents.List{}
	for range random.IntN(9) {
		switch n := int64(random.IntN(40)); random.IntN(4) {
		case 0:
			l.Bytes(make([]byte, n))
		case 1:
			l.Add(artifact.Extent{Blob: cache.SumBytes([]byte{byte(n % 3)}), Offset: n, Length: n})
		default:
			l.Zeros(n)
		}
	}
	return l
}

func TestRangesAreWhatIsNotZeros(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		l, unit := anyList(random), int64(random.IntN(16)+1)
		got := map[int64]bool{}
		end := int64(-1)
		for _, r := range Ranges(l, unit) {
			if r.Count < 1 || r.First <= end {
				t.Fatalf("ranges %v", Ranges(l, unit))
			}
			for i := range r.Count {
				got[r.First+i] = true
			}
			end = r.First + r.Count
		}
		for u := int64(0); u*unit < l.Size(); u++ {
			if zeros := l.IsZeros(u*unit, min(unit, l.Size()-u*unit)); zeros == got[u] {
				t.Fatalf("unit %d of %d bytes in %v: zeros %v", u, unit, l.Runs(), zeros)
			}
			delete(got, u)
		}
		if len(got) > 0 {
			t.Fatalf("units beyond the end: %v", got)
		}
	}
}

func TestCursorTakesWhatSliceDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		l, at := anyList(random), int64(0)
		c := NewCursor(l)
		for at < l.Size() {
			skip := min(int64(random.IntN(20)), l.Size()-at)
			c.Skip(skip)
			at += skip
			take := int64(random.IntN(50))
			want := l.Slice(at, min(take, l.Size()-at))
			got := c.Take(take)
			if got.Size() != want.Size() || !reflect.DeepEqual(got.Runs(), want.Runs()) {
				t.Fatalf("%d at %d of %v: %v", take, at, l.Runs(), got.Runs())
			}
			at += got.Size()
		}
		if got := c.Take(1).Size(); got != 0 {
			t.Fatalf("%d bytes after the end", got)
		}
	}
}
