package gzipped

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat/disktest"
)

func wrap(t *testing.T, s *disktest.Store, list *extents.List) *extents.List {
	t.Helper()
	out, err := Wrap(context.Background(), list, s.Open(list))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares what is in a gzip file with a list, without having either in memory.
func same(t *testing.T, s *disktest.Store, packed, list *extents.List) {
	t.Helper()
	r, err := gzip.NewReader(io.NewSectionReader(s.Open(packed), 0, packed.Size()))
	if err != nil {
		t.Fatal(err)
	}
	want := s.Open(list)
	got, expect := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := io.ReadFull(r, got)
		if m, _ := want.ReadAt(expect[:n], at); m != n || !bytes.Equal(got[:n], expect[:n]) {
			t.Fatalf("other bytes from %d on", at)
		}
		at += int64(n)
		if err != nil {
			if at != list.Size() || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes, want %d: %v", at, list.Size(), err)
			}
			break
		}
	}
	if _, err := r.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

func TestFilesThatOthersRead(t *testing.T) {
	for _, d := range disktest.Disks() {
		t.Run(d.Name, func(t *testing.T) {
			s := disktest.New(t)
			list := d.Make(s)
			packed := wrap(t, s, list)
			if list.Size() < 100<<20 {
				same(t, s, packed, list)
			}
			disktest.Run(t, "gzip", "-t", s.File("disk.gz", packed))
		})
	}
}

func TestZerosTakeAThousandth(t *testing.T) {
	s := disktest.New(t)
	list := s.Blob(disktest.Noise(1, 10_000_000))
	list.Zeros(256 << 20)
	list.Append(s.Blob(disktest.Noise(2, 10_000_000)))
	packed := wrap(t, s, list)
	same(t, s, packed, list)
	zeros := int64(256 << 20)
	if most := 20_000_000 + 20_000_000/10_000 + zeros/1000; packed.Size() > most {
		t.Errorf("%d bytes, want up to %d", packed.Size(), most)
	}
	inline := 0
	for _, e := range packed.Runs() {
		inline += len(e.Inline)
	}
	if inline > 2000 {
		t.Errorf("%d bytes inline", inline)
	}
}

func TestRunsOfAllLengths(t *testing.T) {
	s, random := disktest.New(t), rand.New(rand.NewPCG(1, 2))
	blob := s.Blob(disktest.Noise(1, 200_000))
	for range 60 {
		list := &extents.List{}
		for range random.IntN(12) {
			n := int64(random.IntN(1 << random.IntN(18)))
			switch random.IntN(4) {
			case 0:
				list.Append(blob.Slice(int64(random.IntN(50_000)), n))
			case 1:
				list.Bytes(disktest.Noise(uint64(n), int(n)))
			default:
				list.Zeros(n)
			}
		}
		same(t, s, wrap(t, s, list), list)
	}
	for n := int64(minZeros - 2); n < minZeros+600; n++ {
		list := extents.Bytes([]byte("x"))
		list.Zeros(n)
		list.Bytes([]byte("y"))
		same(t, s, wrap(t, s, list), list)
	}
}

func TestChecksumOfZeros(t *testing.T) {
	for _, n := range []int64{0, 1, 2, 3, 255, 256, 1000, 65_537} {
		for _, before := range []string{"", "\x00", "something"} {
			want := crc32.ChecksumIEEE(append([]byte(before), make([]byte, n)...))
			if got := appendZeros(crc32.ChecksumIEEE([]byte(before)), n); got != want {
				t.Errorf("%d zeros after %q: %08x, want %08x", n, before, got, want)
			}
		}
	}
}

func TestContentsThatCannotBeRead(t *testing.T) {
	list := extents.Blob(cache.SumBytes([]byte("gone")), 1000)
	if _, err := Wrap(context.Background(), list, strings.NewReader("short")); err == nil || !strings.Contains(err.Error(), "read at byte 0") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Wrap(ctx, list, strings.NewReader(strings.Repeat("x", 1000))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
