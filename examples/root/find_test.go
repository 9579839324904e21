package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestThePartitionOfAnID(t *testing.T) {
	id := []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	disk := make([]byte, 64*sector)
	copy(disk[sector:], "EFI PART")
	binary.LittleEndian.PutUint64(disk[sector+72:], 2)
	binary.LittleEndian.PutUint32(disk[sector+80:], 4)
	binary.LittleEndian.PutUint32(disk[sector+84:], 128)
	copy(disk[2*sector+2*128+16:], []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff})
	for _, c := range []struct {
		name string
		disk []byte
		want int
	}{
		{"the third", disk, 3},
		{"no GPT", make([]byte, 64*sector), 0},
		{"cut short", disk[:sector+40], 0},
		{"a table beyond the end", disk[:2*sector], 0},
	} {
		got, err := partition(bytes.NewReader(c.disk), id)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: got %d, %v, want %d", c.name, got, err, c.want)
		}
	}
}

func TestARootHashThatIsNone(t *testing.T) {
	for _, hash := range []string{"", "00", "zz", string(bytes.Repeat([]byte("0"), 66))} {
		if _, _, err := halves(hash); !errors.Is(err, errRefused) {
			t.Errorf("%q: %v", hash, err)
		}
	}
}

func FuzzPartition(f *testing.F) {
	f.Add([]byte("EFI PART"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = partition(bytes.NewReader(b), make([]byte, 16))
	})
}
