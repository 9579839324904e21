package mbr_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/mbr"
)

const mib = 1 << 20

func TestDisksThatOthersRead(t *testing.T) {
	s := disktest.New(t)
	boot, root := disktest.Noise(1, 3*mib-512), disktest.Noise(2, 2*mib)
	code := bytes.Repeat([]byte{0x90}, 440)
	parts := []mbr.Partition{
		{Type: mbr.FAT32, Active: true, Content: s.Blob(boot)},
		{Type: mbr.Linux, Content: s.Blob(root), Size: 5*mib + 512},
		{Type: mbr.EFI, Size: 9 << 30},
	}
	for _, size := range []int64{0, 20 << 30} {
		list, err := mbr.Build(parts, mbr.Options{Signature: 0xcafe1234, BootCode: code, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if want := max(size, 9<<30+10*mib); list.Size() != want {
			t.Errorf("%d bytes, want %d", list.Size(), want)
		}
		if !bytes.Equal(s.Read(list, 0, 440), code) || !bytes.Equal(s.Read(list, mib, int64(len(boot))), boot) || !bytes.Equal(s.Read(list, 4*mib, int64(len(root))), root) {
			t.Error("code or contents are not where they belong")
		}
		file := s.File("disk.img", list)
		if got := disktest.Run(t, "sfdisk", "--verify", file); strings.Contains(strings.ToLower(got), "warning") {
			t.Errorf("sfdisk: %s", got)
		}
		var dump struct {
			PartitionTable struct {
				Label, ID  string
				Partitions []struct {
					Start, Size int64
					Type        string
					Bootable    bool
				}
			}
		}
		if err := json.Unmarshal([]byte(disktest.Run(t, "sfdisk", "-J", file)), &dump); err != nil {
			t.Fatal(err)
		}
		got := dump.PartitionTable
		if got.Label != "dos" || got.ID != "0xcafe1234" || len(got.Partitions) != 3 {
			t.Fatalf("sfdisk: %+v", got)
		}
		for i, want := range []struct {
			start, size int64
			kind        string
			active      bool
		}{{2048, 6144, "c", true}, {8192, 10241, "83", false}, {20480, 9 << 21, "ef", false}} {
			if p := got.Partitions[i]; p.Start != want.start || p.Size != want.size || p.Type != want.kind || p.Bootable != want.active {
				t.Errorf("partition %d: %+v, want %+v", i+1, p, want)
			}
		}
	}
}

func TestCylindersHeadsSectors(t *testing.T) {
	parts := []mbr.Partition{{Type: mbr.Linux, Size: mib}, {Type: mbr.Linux, Size: 9 << 30}}
	list, err := mbr.Build(parts, mbr.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := disktest.New(t).Read(list, 0, 512)
	for _, tt := range []struct {
		name string
		at   int
		want []byte // head, sector and two bits of the cylinder, cylinder
	}{
		{"the first sector of 1 MiB", 447, []byte{32, 33, 0}},
		{"the last sector of 1 MiB", 451, []byte{65, 1, 0}},
		{"beyond all cylinders", 467, []byte{254, 0xff, 0xff}},
	} {
		if got := b[tt.at : tt.at+3]; !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := binary.LittleEndian.Uint16(b[510:]); got != 0xaa55 {
		t.Errorf("signature %x", got)
	}
}

func TestFaultsAreSentences(t *testing.T) {
	blob := func(size int64) *extents.List { return extents.Blob(cache.SumBytes([]byte("blob")), size) }
	for _, tt := range []struct {
		name  string
		parts []mbr.Partition
		opts  mbr.Options
		want  string
	}{
		{"no partition", nil, mbr.Options{}, "1 to 4"},
		{"five partitions", make([]mbr.Partition, 5), mbr.Options{}, "use a GPT"},
		{"no size", []mbr.Partition{{Type: 1}}, mbr.Options{}, "neither contents nor a size"},
		{"no type", []mbr.Partition{{Size: mib}}, mbr.Options{}, "no type"},
		{"half a sector", []mbr.Partition{{Type: 1, Size: 256}}, mbr.Options{}, "multiple of 512"},
		{"a negative size", []mbr.Partition{{Type: 1, Size: -512}}, mbr.Options{}, "multiple of 512"},
		{"contents that are larger", []mbr.Partition{{Type: 1, Size: 512, Content: blob(513)}}, mbr.Options{}, "its contents have 513"},
		{"3 TiB", []mbr.Partition{{Type: 1, Size: 3 << 40}}, mbr.Options{}, "up to 2 TiB"},
		{"3 TiB in two", []mbr.Partition{{Type: 1, Size: 3 << 39}, {Type: 1, Size: 3 << 39}}, mbr.Options{}, "beyond 2 TiB"},
		{"huge contents", []mbr.Partition{{Type: 1, Content: blob(math.MaxInt64)}}, mbr.Options{}, "up to 2 TiB"},
		{"two active ones", []mbr.Partition{{Type: 1, Size: mib, Active: true}, {Type: 1, Size: mib, Active: true}}, mbr.Options{}, "2 partitions are active"},
		{"a disk that is small", []mbr.Partition{{Type: 1, Size: mib}}, mbr.Options{Size: mib}, "make it larger"},
		{"long boot code", []mbr.Partition{{Type: 1, Size: mib}}, mbr.Options{BootCode: make([]byte, 512)}, "may have 440"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := mbr.Build(tt.parts, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
