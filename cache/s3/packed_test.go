package s3

import (
	"bytes"
	"testing"
)

func FuzzSeekTable(f *testing.F) {
	var packed bytes.Buffer
	if err := pack(&packed, bytes.NewReader(bytes.Repeat([]byte("kiln "), 500_000))); err != nil {
		f.Fatal(err)
	}
	b := packed.Bytes()
	size, err := seekTableSize(b[len(b)-seekFooter:])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[int64(len(b))-size:], int64(len(b)))
	f.Fuzz(func(t *testing.T, last []byte, stored int64) {
		frames, err := parseSeekTable(last, stored)
		if err != nil {
			return
		}
		var at, plain int64
		for i, frame := range frames {
			if frame.stored != at || frame.plain != plain || frame.size <= 0 || frame.length <= 0 {
				t.Fatalf("frame %d does not follow the one before", i)
			}
			at, plain = at+frame.size, plain+frame.length
		}
		if at+int64(len(last)) != stored {
			t.Fatal("the frames do not fill the object")
		}
	})
}
