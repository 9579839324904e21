package transfer

import "testing"

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Fuzz(func(t *testing.T, spec string, size int64) {
		if size < 0 {
			return
		}
		offset, length, ok, satisfiable := parseRange(spec, size)
		if ok && satisfiable && (offset < 0 || length <= 0 || offset+length > size) {
			t.Errorf("%q of %d: %d+%d", spec, size, offset, length)
		}
	})
}
