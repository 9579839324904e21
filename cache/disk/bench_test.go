package disk

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/kiln-farm/kiln/cache"
)

func noise(n int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	_, _ = random.Read(data) // never fails
	return data
}

func BenchmarkPut25MiB(b *testing.B) {
	d, data := openDir(b), noise(25<<20)
	b.SetBytes(int64(len(data)))
	for i := range b.N {
		data[0], data[1] = byte(i), byte(i>>8)
		draft, err := d.Create(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := draft.ReadFrom(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		digest, _, err := draft.Commit()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := d.Delete(context.Background(), cache.BlobKey(digest)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkPutSmall(b *testing.B) {
	d, data := openDir(b), noise(1000)
	for i := range b.N {
		data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
		if err := d.Put(context.Background(), cache.BlobKey(cache.SumBytes(data)), bytes.NewReader(data), -1, cache.IfAbsent); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMissingOfThousand(b *testing.B) {
	d := openDir(b)
	var digests []cache.Digest
	for i := range 1000 {
		digests = append(digests, putBlob(b, d, []byte{byte(i), byte(i >> 8)}))
	}
	for b.Loop() {
		if missing, err := d.MissingBlobs(context.Background(), digests); err != nil || len(missing) != 0 {
			b.Fatal(missing, err)
		}
	}
}

func BenchmarkVerify25MiB(b *testing.B) {
	d, data := openDir(b), noise(25<<20)
	digest := putBlob(b, d, data)
	b.SetBytes(int64(len(data)))
	for i := 0; b.Loop(); i++ {
		d.boot = bootID{byte(i + 1), byte(i >> 8), 1} // as after a restart
		f, err := d.Open(context.Background(), digest)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
