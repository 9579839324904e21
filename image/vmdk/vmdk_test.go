package vmdk

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat/disktest"
)

func TestDisksThatQEMUReads(t *testing.T) {
	for _, d := range disktest.Disks() {
		t.Run(d.Name, func(t *testing.T) {
			s := disktest.New(t)
			disk := d.Make(s)
			list, err := Stream(context.Background(), disk, s.Open(disk), Options{Name: "linuxkit.vmdk", CID: 0x1234abcd})
			if err != nil {
				t.Fatal(err)
			}
			walk(t, s, list, disk)
			raw, file := s.File("disk.raw", disk), s.File("disk.vmdk", list)
			disktest.Run(t, "qemu-img", "check", "-f", "vmdk", file)
			var info struct {
				Format      string
				VirtualSize int64 `json:"virtual-size"`
				Specific    struct {
					Data struct {
						CID        int64
						CreateType string `json:"create-type"`
						Extents    []struct {
							Compressed bool
						}
					}
				} `json:"format-specific"`
			}
			if err := json.Unmarshal([]byte(disktest.Run(t, "qemu-img", "info", "--output=json", file)), &info); err != nil {
				t.Fatal(err)
			}
			want := max((disk.Size()+grain-1)/grain, 1) * grain
			if got := info.Specific.Data; info.Format != "vmdk" || info.VirtualSize != want || got.CID != 0x1234abcd || got.CreateType != "streamOptimized" || !got.Extents[0].Compressed {
				t.Errorf("%+v, want %d bytes", info, want)
			}
			disktest.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, file)
			if most := d.Data + d.Data/100 + int64(d.Pieces)*(2*grain+5*sector) + 100<<10; list.Size() > most {
				t.Errorf("%d bytes for %d, want up to %d", list.Size(), d.Data, most)
			}
		})
	}
}

// walk reads a file as whoever imports a stream does: from its start to its end, by the markers.
func walk(t *testing.T, s *disktest.Store, list, disk *extents.List) {
	t.Helper()
	le, file := binary.LittleEndian, s.Bytes(list)
	if len(file)%sector != 0 {
		t.Errorf("%d bytes are not whole sectors", len(file))
	}
	raw, tables, last := s.Open(disk), 0, int64(-1)
	for at := overhead * sector; ; {
		value, size := le.Uint64(file[at:]), int(le.Uint32(file[at+8:]))
		if size > 0 {
			r, err := zlib.NewReader(bytes.NewReader(file[at+12 : at+12+size]))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			want := make([]byte, grain)
			_, _ = raw.ReadAt(want, int64(value)*sector)
			if err != nil || !bytes.Equal(got, want) || int64(value) <= last {
				t.Fatalf("the grain of sector %d: %d bytes, %v", value, len(got), err)
			}
			last = int64(value)
			at = (at + 12 + size + sector - 1) / sector * sector
			continue
		}
		switch le.Uint32(file[at+12:]) {
		case markTable:
			tables++
		case markFooter:
			foot := file[at+sector:]
			if !bytes.Equal(foot[:56], file[:56]) || le.Uint64(file[56:]) != atEnd || le.Uint64(foot[56:])*sector > uint64(at) {
				t.Error("the footer is not the header with the directory's place")
			}
		case markEnd:
			if at+sector != len(file) {
				t.Errorf("%d bytes after the end", len(file)-at-sector)
			}
			return
		}
		at += sector + int(value)*sector
	}
}

func TestFaultsAreSentences(t *testing.T) {
	large, empty := &extents.List{}, &extents.List{}
	large.Zeros(3 << 40)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	gone := extents.Blob(cache.SumBytes([]byte("gone")), 100_000)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		disk *extents.List
		opts Options
		want string
	}{
		{"a disk of 3 TiB", context.Background(), large, Options{}, "2000 GiB"},
		{"a name with a quote", context.Background(), empty, Options{Name: `a"b`}, "without quotes"},
		{"a name of two lines", context.Background(), empty, Options{Name: "a\nb"}, "without quotes"},
		{"no contents", context.Background(), empty, Options{CID: 0xffffffff}, "ffffffff"},
		{"contents that end early", context.Background(), gone, Options{}, "read at byte 0"},
		{"who does not wait", cancelled, gone, Options{}, context.Canceled.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Stream(tt.ctx, tt.disk, strings.NewReader("short"), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.ctx.Err() != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
