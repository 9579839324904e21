package uki

import (
	"bytes"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
)

func FuzzImages(f *testing.F) {
	f.Add(makePE(AMD64, 8, peSection{".text", []byte("text")}))
	f.Add(kernelOf(AMD64))
	f.Add(kernelOf(ARM64))
	f.Add(makePE(ARM64, 0))
	f.Fuzz(func(t *testing.T, p []byte) {
		list, data := extents.Bytes(p), bytes.NewReader(p)
		_ = Check(data, list.Size(), AMD64)
		if out, err := Build(p, Sections{Linux: extents.Bytes([]byte("MZ"))}); err == nil {
			built := render(out)
			if _, err := parse(bytes.NewReader(built), out.Size()); err != nil {
				t.Errorf("what was built: %v", err)
			}
		}
		before, err := AuthenticodeDigest(t.Context(), list, data)
		if err != nil {
			return
		}
		signed, err := Attach(list, data, []byte("signature"))
		if err != nil {
			return
		}
		after, err := AuthenticodeDigest(t.Context(), signed, bytes.NewReader(render(signed)))
		if err != nil || before != after {
			t.Errorf("digest %x, signed %x: %v", before, after, err)
		}
	})
}

// render is what a list without blobs says.
func render(l *extents.List) []byte {
	var out []byte
	for _, e := range l.Runs() {
		if e.Inline == nil {
			out = append(out, make([]byte, e.Length)...)
		}
		out = append(out, e.Inline...)
	}
	return out
}

func FuzzSignatures(f *testing.F) {
	by := sharedPair(f)
	signature, err := Sign([32]byte{1, 2, 3}, by.key, by.certificate)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signature)
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		_, _ = SignedDigest(p)
	})
}
