package gpt_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/gpt"
)

const mib = 1 << 20

func id(label string) [16]byte { return gpt.UUID(label) }

func TestDisksThatOthersRead(t *testing.T) {
	esp, root := disktest.Noise(1, 3*mib), disktest.Noise(2, 5*mib/2)
	code := bytes.Repeat([]byte{0x90}, 440)
	for _, tt := range []struct {
		name   string
		size   int64
		want   int64
		starts []int64 // sectors
		sizes  []int64 // sectors
	}{
		{"as small as it can be", 0, 40*mib + mib, []int64{2048, 8192, 14336}, []int64{6144, 6144, 67584}},
		{"of 3 TiB", 3 << 40, 3 << 40, []int64{2048, 8192, 14336}, []int64{6144, 6144, 67584}},
		{"just large enough", 40*mib + 33*512, 40*mib + 33*512, []int64{2048, 8192, 14336}, []int64{6144, 6144, 67584}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := disktest.New(t)
			parts := []gpt.Partition{
				{Type: gpt.ESP, ID: id("esp"), Name: "EFI system partition", Content: s.Blob(esp)},
				{Type: gpt.RootX86, ID: id("root"), Name: "Wurzel – 根", Content: s.Blob(root), Attributes: gpt.ReadOnly | gpt.GrowFS},
				{Type: gpt.Linux, ID: id("data"), Name: "data", Size: 33 * mib},
			}
			list, err := gpt.Build(parts, gpt.Options{ID: id("disk"), Size: tt.size, BootCode: code})
			if err != nil {
				t.Fatal(err)
			}
			if list.Size() != tt.want {
				t.Errorf("%d bytes, want %d", list.Size(), tt.want)
			}
			if got := s.Read(list, 0, 440); !bytes.Equal(got, code) {
				t.Error("other boot code")
			}
			if !bytes.Equal(s.Read(list, mib, int64(len(esp))), esp) || !bytes.Equal(s.Read(list, 4*mib, int64(len(root))), root) {
				t.Error("contents are not where they belong")
			}
			file := s.File("disk.img", list)
			if got := disktest.Run(t, "sgdisk", "-v", file); !strings.Contains(got, "No problems found") {
				t.Errorf("sgdisk: %s", got)
			}
			disktest.Run(t, "sfdisk", "--verify", file)
			var dump struct {
				PartitionTable struct {
					Label, ID  string
					Partitions []struct {
						Start, Size             int64
						Type, UUID, Name, Attrs string
					}
				}
			}
			if err := json.Unmarshal([]byte(disktest.Run(t, "sfdisk", "-J", file)), &dump); err != nil {
				t.Fatal(err)
			}
			if got := dump.PartitionTable; got.Label != "gpt" || !strings.EqualFold(got.ID, gpt.Text(id("disk"))) || len(got.Partitions) != len(parts) {
				t.Fatalf("sfdisk: %+v", got)
			}
			for i, got := range dump.PartitionTable.Partitions {
				if got.Start != tt.starts[i] || got.Size != tt.sizes[i] || got.Name != parts[i].Name ||
					!strings.EqualFold(got.UUID, gpt.Text(parts[i].ID)) || !strings.EqualFold(got.Type, gpt.Text(parts[i].Type)) {
					t.Errorf("partition %d: %+v", i+1, got)
				}
			}
			if got := dump.PartitionTable.Partitions[1].Attrs; got != "GUID:59,60" {
				t.Errorf("attributes %q", got)
			}
			starts, err := gpt.Start(parts)
			if err != nil || len(starts) != 4 || starts[1] != tt.starts[1]*512 || starts[3] != 40*mib {
				t.Errorf("starts %v, %v", starts, err)
			}
		})
	}
}

func TestTypesAreWhatOthersCallThem(t *testing.T) {
	known := map[string]string{}
	for _, line := range strings.Split(disktest.Run(t, "sfdisk", "--label", "gpt", "--list-types"), "\n") {
		id, name, _ := strings.Cut(line, "  ")
		known[strings.ToLower(id)] = name
	}
	for want, kind := range map[string][16]byte{
		"EFI System": gpt.ESP, "Linux filesystem": gpt.Linux, "BIOS boot": gpt.BIOSBoot,
		"Linux root (x86-64)": gpt.RootX86, "Linux root verity (x86-64)": gpt.RootX86Verity, "Linux root verity sign. (x86-64)": gpt.RootX86VeritySig,
		"Linux root (ARM-64)": gpt.RootARM64, "Linux root verity (ARM-64)": gpt.RootARM64Verity, "Linux root verity sign. (ARM-64)": gpt.RootARM64VeritySig,
		"Linux variable data": gpt.Var, "Linux home": gpt.Home, "Linux swap": gpt.Swap,
	} {
		if got := known[gpt.Text(kind)]; got != want {
			t.Errorf("%s is %q, want %q", gpt.Text(kind), got, want)
		}
	}
}

func TestUUID(t *testing.T) {
	// The version is 8 and the variant, the first two bits of the fourth group, is 10.
	if got, want := gpt.Text(gpt.UUID("disk", []byte("a"), []byte("b"))), "4922f9aa-4ad0-890d-a7bb-08f4a32deabf"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if gpt.UUID("disk", []byte("ab")) == gpt.UUID("disk", []byte("a"), []byte("b")) || gpt.UUID("a") == gpt.UUID("b") {
		t.Error("other parts, the same id")
	}
	if got, want := gpt.Text(gpt.ESP), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFaultsAreSentences(t *testing.T) {
	part := gpt.Partition{Type: gpt.Linux, ID: id("a"), Size: mib}
	with := func(change func(*gpt.Partition)) []gpt.Partition {
		p := part
		change(&p)
		return []gpt.Partition{p}
	}
	blob := func(size int64) *extents.List { return extents.Blob(cache.SumBytes([]byte("blob")), size) }
	for _, tt := range []struct {
		name  string
		parts []gpt.Partition
		opts  gpt.Options
		want  string
	}{
		{"no size", with(func(p *gpt.Partition) { p.Size = 0 }), gpt.Options{}, "neither contents nor a size"},
		{"half a sector", with(func(p *gpt.Partition) { p.Size = 256 }), gpt.Options{}, "multiple of 512"},
		{"a negative size", with(func(p *gpt.Partition) { p.Size = -512 }), gpt.Options{}, "multiple of 512"},
		{"contents that are larger", with(func(p *gpt.Partition) { p.Content = blob(2 * mib) }), gpt.Options{}, "its contents have 2097152"},
		{"no type", with(func(p *gpt.Partition) { p.Type = [16]byte{} }), gpt.Options{}, "no type"},
		{"no id", with(func(p *gpt.Partition) { p.ID = [16]byte{} }), gpt.Options{}, "no id"},
		{"the same id", []gpt.Partition{part, part}, gpt.Options{}, "partitions 1 and 2 have the same id"},
		{"a name that is long", with(func(p *gpt.Partition) { p.Name = strings.Repeat("😀", 19) }), gpt.Options{}, "up to 36"},
		{"a name that is no text", with(func(p *gpt.Partition) { p.Name = "\xff" }), gpt.Options{}, "the name"},
		{"many partitions", make([]gpt.Partition, 129), gpt.Options{}, "up to 128"},
		{"a disk that is small", []gpt.Partition{part}, gpt.Options{Size: 2 * mib}, "make it larger"},
		{"a disk of half a sector", []gpt.Partition{part}, gpt.Options{Size: 8*mib + 1}, "sectors of 512 bytes"},
		{"a negative disk", []gpt.Partition{part}, gpt.Options{Size: -512}, "make it larger"},
		{"long boot code", []gpt.Partition{part}, gpt.Options{BootCode: make([]byte, 441)}, "441 bytes and may have 440"},
		{"a huge partition", with(func(p *gpt.Partition) { p.Size = math.MaxInt64 &^ 511 }), gpt.Options{}, "largest possible disk"},
		{"huge contents", with(func(p *gpt.Partition) { p.Size, p.Content = 0, blob(math.MaxInt64) }), gpt.Options{}, "largest possible disk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := gpt.Build(tt.parts, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
