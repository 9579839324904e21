package disk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kiln-farm/kiln/cache"
)

// room is how much a file takes on the disk, in bytes.
func room(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("the file system does not say what a file takes")
	}
	return st.Blocks * 512
}

// needHoles skips where the file system has no holes, as exFAT.
func needHoles(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hole")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 16<<20); err != nil {
		t.Fatal(err)
	}
	if n := room(t, file); n > 1<<20 {
		t.Skipf("a file of 16 MiB that is one hole takes %d bytes here: the file system has no holes", n)
	}
}

func TestZerosTakeNoRoom(t *testing.T) {
	needHoles(t)
	data := bytes.Repeat([]byte("kiln"), 25_000)
	zeros := make([]byte, 32<<20)
	for name, content := range map[string][]byte{
		"nothing but zeros":        zeros,
		"zeros in between":         bytes.Join([][]byte{data, zeros, data}, nil),
		"zeros at the end":         append(bytes.Clone(data), zeros...),
		"zeros at the begin":       append(bytes.Clone(zeros), data...),
		"a byte here and there":    bytes.Repeat(append([]byte{1}, make([]byte, 4<<20-1)...), 8),
		"zeros, and an odd length": append(bytes.Clone(zeros), make([]byte, 12_345)...),
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			digest := putBlob(t, d, content)
			if n := room(t, d.blobFile(digest)); n > 1<<20 {
				t.Errorf("it takes %d bytes on the disk", n)
			}
			if got := readBlob(t, d, digest); !bytes.Equal(got, content) {
				t.Error("it reads differently")
			}
			d.boot = bootID{9} // as after a restart: it is hashed again
			if missing, err := d.MissingBlobs(t.Context(), []cache.Digest{digest}); err != nil || len(missing) > 0 {
				t.Errorf("missing after a restart: %v, %v", missing, err)
			}
			var told int64
			if err := d.List(t.Context(), cache.BlobPrefix, func(e cache.Entry) error { told = e.Size; return nil }); err != nil || told > 1<<20 {
				t.Errorf("the listing says %d bytes, %v", told, err)
			}
		})
	}
}

// However zeros lie and whatever pieces they are written in, what is read is what was written.
func TestSparseBlobsAreWhatWasWritten(t *testing.T) {
	d, random := openDir(t), rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var content []byte
		for range random.IntN(8) {
			run := make([]byte, random.IntN(200_000))
			if random.IntN(2) == 0 {
				for i := range run {
					run[i] = byte(random.IntN(256))
				}
			}
			content = append(content, run...)
		}
		draft, err := d.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for rest := content; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(2*draftBuffer))
			if random.IntN(2) == 0 {
				_, err = draft.Write(rest[:n])
			} else {
				_, err = draft.ReadFrom(io.LimitReader(bytes.NewReader(rest), int64(n)))
			}
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		digest, size, err := draft.Commit()
		if err != nil || size != int64(len(content)) || digest != cache.SumBytes(content) {
			t.Fatalf("committed as %s of %d bytes, %v; want %s of %d", digest, size, err, cache.SumBytes(content), len(content))
		}
		if got := readBlob(t, d, digest); !bytes.Equal(got, content) {
			t.Fatal("it reads differently")
		}
	}
}
