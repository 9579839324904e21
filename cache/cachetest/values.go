package cachetest

import (
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
)

// Dir is an empty cache in a directory that the test removes.
func Dir(t testing.TB) *disk.Store {
	t.Helper()
	d, err := disk.Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Put stores a blob and checks what its draft says of it.
func Put(t testing.TB, blobs cache.Blobs, data []byte) cache.Digest {
	t.Helper()
	draft, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(data); err != nil {
		t.Fatal(err)
	}
	digest, size, err := draft.Commit()
	if err != nil || digest != cache.SumBytes(data) || size != int64(len(data)) {
		t.Fatalf("commit: got %s, %d, %v; want %s, %d", digest, size, err, cache.SumBytes(data), len(data))
	}
	return digest
}

// Read is a blob's bytes.
func Read(t testing.TB, blobs cache.Blobs, digest cache.Digest) []byte {
	t.Helper()
	f, err := blobs.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Text is n bytes that compress to about a third.
func Text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, n)
	words := strings.Fields("the quick brown fox jumps over a lazy dog while many small images of the farm are built from one another")
	for i := 0; i < n; {
		i += copy(out[i:], words[r.IntN(len(words))]+" ")
	}
	return out
}

// Noise is n bytes that do not compress.
func Noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out) // never fails
	return out
}
