package outfile

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestZerosTakeNoRoom(t *testing.T) {
	const block = 1 << 20
	data, hole := bytes.Repeat([]byte("kiln"), block/4), make([]byte, block)
	for _, c := range []struct {
		name   string
		parts  [][]byte
		blocks int // of 1 MiB, that are on the disk at most
	}{
		{"zeros between", [][]byte{data, hole, hole, hole, data}, 2},
		{"zeros at the end", [][]byte{data, hole, hole}, 1},
		{"zeros only", [][]byte{hole, hole}, 0},
		{"nothing", nil, 0},
		{"few zeros", [][]byte{data[:10], hole[:100], data[:10]}, 1},
		{"zeros, and little behind them", [][]byte{hole, data[:1]}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			if err := Write(t.Context(), path, func(w io.Writer) error {
				for _, p := range c.parts {
					if _, err := w.Write(p); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, bytes.Join(c.parts, nil)) {
				t.Errorf("%d bytes are not the %d that were written", len(got), len(bytes.Join(c.parts, nil)))
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if room := info.Sys().(*syscall.Stat_t).Blocks * 512; room > int64(c.blocks)*block+16<<10 {
				t.Errorf("the file takes %d bytes on the disk, want %d MiB at most", room, c.blocks)
			}
		})
	}
}
