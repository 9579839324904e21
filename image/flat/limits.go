package flat

import (
	"fmt"
	"math"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Limits bound what an image may unpack to: a few bytes can stand for terabytes of zeros. Zero fields do not limit.
type Limits struct {
	Bytes   int64 // of all files of all layers together, whether a higher layer hides them or not
	Entries int64 // of all layers together
	// Ratio is how many bytes a layer may unpack to for each byte that it has; the first RatioFree bytes are free.
	Ratio     int64
	RatioFree int64
}

// DefaultLimits leave room for any image that was made to be used.
var DefaultLimits = Limits{Bytes: 128 << 30, Entries: 10_000_000, Ratio: 250, RatioFree: 1 << 30}

// LimitsOf are the limits that somebody set. What they leave out is usual.
func LimitsOf(set *kilnv1.UnpackLimits) Limits {
	l := DefaultLimits
	for _, one := range []struct {
		to  *int64
		set int64
	}{{&l.Bytes, set.GetBytes()}, {&l.Entries, set.GetFiles()}, {&l.Ratio, set.GetRatio()}} {
		switch {
		case one.set == math.MaxInt64:
			*one.to = 0
		case one.set > 0:
			*one.to = one.set
		}
	}
	return l
}

// Wider has of each limit that which allows more; nil when nobody set any.
func Wider(a, b *kilnv1.UnpackLimits) *kilnv1.UnpackLimits {
	if a == nil && b == nil {
		return nil
	}
	wider := func(a, b, usual int64) int64 {
		if a <= 0 {
			a = usual
		}
		if b <= 0 {
			b = usual
		}
		return max(a, b)
	}
	return &kilnv1.UnpackLimits{
		Bytes: wider(a.GetBytes(), b.GetBytes(), DefaultLimits.Bytes),
		Files: wider(a.GetFiles(), b.GetFiles(), DefaultLimits.Entries),
		Ratio: wider(a.GetRatio(), b.GetRatio(), DefaultLimits.Ratio),
	}
}

// raise is what to do about a limit that an image goes beyond with reason.
const raise = "; if the image is what it should be, raise the limit with --max-unpack, where the build runs here or for its team on the farm (kiln farm team)"

// meter counts what the layers unpack to.
type meter struct {
	limits  Limits
	bytes   int64
	entries int64
	layer   int64 // bytes of the layer that is read
	packed  int64 // its size
}

func (m *meter) begin(packed int64) { m.layer, m.packed = 0, packed }

// entry counts an entry before its body is read.
func (m *meter) entry(e *tree.Entry) error {
	m.entries++
	m.bytes += e.Body.Size
	m.layer += e.Body.Size
	switch l := m.limits; {
	case l.Entries > 0 && m.entries > l.Entries:
		return step.Failf("with entry %q the image has more than %d entries, which is the limit"+raise, e.Name, l.Entries)
	case l.Bytes > 0 && (m.bytes > l.Bytes || m.bytes < 0):
		return step.Failf("with the %s of entry %q the image unpacks to more than %s, which is the limit"+raise, size(e.Body.Size), e.Name, size(l.Bytes))
	case l.Ratio > 0 && m.layer > l.RatioFree && m.layer/l.Ratio > m.packed:
		return step.Failf("with the %s of entry %q a layer of %s unpacks to more than %d times its size, which is the limit"+raise,
			size(e.Body.Size), e.Name, size(m.packed), l.Ratio)
	}
	return nil
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
