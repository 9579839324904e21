package vhd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat/disktest"
)

var id = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func TestDisksThatQEMUReads(t *testing.T) {
	for _, kind := range []struct {
		name  string
		wrap  func(*extents.List, [16]byte) (*extents.List, error)
		fixed bool
	}{{"fixed", Fixed, true}, {"dynamic", Dynamic, false}} {
		for _, d := range disktest.Disks() {
			t.Run(kind.name+" of "+d.Name, func(t *testing.T) {
				s := disktest.New(t)
				disk := d.Make(s)
				list, err := kind.wrap(disk, id)
				if err != nil {
					t.Fatal(err)
				}
				want := max((disk.Size()+mib-1)/mib, 1) * mib
				if most := d.Data + int64(d.Pieces)*2*block + 16<<10; kind.fixed && list.Size() != want+512 || !kind.fixed && list.Size() > most {
					t.Errorf("%d bytes for %d", list.Size(), disk.Size())
				}
				raw, file := s.File("disk.raw", disk), s.File("disk.vhd", list)
				var info struct {
					Format      string
					VirtualSize int64 `json:"virtual-size"`
				}
				if err := json.Unmarshal([]byte(disktest.Run(t, "qemu-img", "info", "-f", "vpc", "--output=json", file)), &info); err != nil {
					t.Fatal(err)
				}
				if info.Format != "vpc" || info.VirtualSize != want {
					t.Errorf("%+v, want %d bytes", info, want)
				}
				disktest.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, file)
				if foot := s.Read(list, list.Size()-512, 512); !bytes.Equal(foot[68:84], id[:]) || !valid(foot, 64) {
					t.Errorf("wrong footer %x", foot[:85])
				}
				if head := s.Read(list, 0, 1536); !kind.fixed && (!valid(head[:512], 64) || !valid(head[512:], 36)) {
					t.Errorf("wrong headers %x", head)
				}
			})
		}
	}
}

// valid says whether the checksum at that place is that of the other bytes.
func valid(b []byte, at int) bool {
	b = bytes.Clone(b)
	want := binary.BigEndian.Uint32(b[at:])
	clear(b[at : at+4])
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	return ^sum == want
}

// Heads and sectors are those of what qemu-img makes of these sizes; it makes disks a cylinder larger, as it counts no other sectors.
func TestGeometry(t *testing.T) {
	for _, tt := range []struct {
		size                       int64
		cylinders, heads, perTrack int
	}{
		{1 * mib, 30, 4, 17}, {30 * mib, 903, 4, 17}, {100 * mib, 1003, 12, 17}, {200 * mib, 825, 16, 31},
		{1 << 30, 2080, 16, 63}, {10 << 30, 20805, 16, 63}, {31 << 30, 64495, 16, 63}, {40 << 30, 20560, 16, 255}, {500 << 30, 65535, 16, 255},
	} {
		want := [4]byte{byte(tt.cylinders >> 8), byte(tt.cylinders), byte(tt.heads), byte(tt.perTrack)}
		if got := chs(tt.size / 512); got != want {
			t.Errorf("%d bytes: %d/%d/%d, want %d/%d/%d", tt.size, int(got[0])<<8|int(got[1]), got[2], got[3], tt.cylinders, tt.heads, tt.perTrack)
		}
	}
}

func TestDiskThatIsTooLarge(t *testing.T) {
	disk := &extents.List{}
	disk.Zeros(2041 << 30)
	for _, wrap := range []func(*extents.List, [16]byte) (*extents.List, error){Fixed, Dynamic} {
		if _, err := wrap(disk, id); err == nil || !strings.Contains(err.Error(), "2040 GiB") {
			t.Errorf("got %v", err)
		}
	}
}
