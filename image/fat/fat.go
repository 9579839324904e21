package fat

import (
	"strings"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// Sector is the size of a sector in bytes, of every volume of this package.
const Sector = 512

const (
	mib = 1 << 20
	// maxFile is the largest file in bytes: directory entries have 32 bits for it.
	maxFile = 1<<32 - 1
	// maxDirectory is the size in bytes that the specification allows a directory.
	maxDirectory = 65536 * entrySize
)

// Type is the width of the table's entries. The zero Type is the widest that the size allows.
type Type int

// Types, in bits.
const (
	Auto  Type = 0
	FAT12 Type = 12
	FAT16 Type = 16
	FAT32 Type = 32
)

// File is a file to be in the volume.
type File struct {
	Path    string        // "EFI/BOOT/BOOTX64.EFI"; directories are made as needed
	Content *extents.List // nil: an empty file
}

// Options say what volume to build.
type Options struct {
	Type     Type
	Size     int64  // of the volume in bytes, a multiple of 512; 0: as small as it can be, in whole MiB
	Label    string // up to 11 characters, written in capitals; "": none
	VolumeID uint32
	Hidden   uint32 // sectors before the volume on its disk: where its partition starts
	// BootSector is a loader's first sector, of which the jump, the OEM name and the code are taken; the volume's own
	// parameters stay. Code begins at byte 90 also in FAT12 and FAT16, as loaders for all three have it. nil: code that hands over to the
	// firmware's next choice.
	BootSector []byte
}

// Image is a volume.
type Image struct {
	List *extents.List
	Type Type

	offsets map[string]int64
}

// Offset is where the content of the file at path begins, in bytes from the volume's start; upper and lower case are the
// same. False when there is no such file or it is empty.
func (i *Image) Offset(path string) (int64, bool) {
	off, ok := i.offsets[fold(strings.Trim(path, "/"))]
	return off, ok
}

// Build lays out a volume with files, whose order does not matter.
func Build(files []File, opts Options) (*Image, error) {
	label, err := labelOf(opts.Label)
	if err != nil {
		return nil, err
	}
	if opts.BootSector != nil && len(opts.BootSector) != Sector {
		return nil, step.Failf("the boot sector for a FAT volume has %d bytes and needs %d: give the first sector of the boot loader", len(opts.BootSector), Sector)
	}
	tree, err := newTree(files, label)
	if err != nil {
		return nil, err
	}
	g, err := fit(tree, opts)
	if err != nil {
		return nil, err
	}
	tree.place(g)
	w := &writer{g: g, opts: opts, label: label, tree: tree}
	return w.image()
}

// fit finds the geometry: the one of the size that was asked for, or the smallest of whole MiB that holds the tree.
func fit(t *tree, opts Options) (*geometry, error) {
	switch {
	case opts.Type != Auto && opts.Type != FAT12 && opts.Type != FAT16 && opts.Type != FAT32:
		return nil, step.Failf("there is no FAT%d: choose 12, 16 or 32", opts.Type)
	case opts.Size < 0 || opts.Size%Sector != 0:
		return nil, step.Failf("a FAT volume of %d bytes does not work: choose a multiple of %d", opts.Size, Sector)
	case opts.Size/Sector >= 1<<32:
		return nil, step.Failf("a FAT volume of %d bytes does not work: it can have up to 2 TiB", opts.Size)
	case opts.Size > 0:
		g := geometryOf(opts.Size, opts.Type, t.root.entries)
		if g == nil {
			return nil, wrongSize(opts)
		}
		if need := t.clusters(g); need > g.clusters {
			return nil, step.Failf("%d bytes of files do not fit into a FAT volume of %d bytes: they need %d clusters of %d bytes, and it has %d; make it larger",
				t.bytes, opts.Size, need, g.clusterSize(), g.clusters)
		}
		return g, nil
	}
	most := int64(1<<32-1) * Sector
	if opts.Type == FAT12 || opts.Type == FAT16 {
		most = maxFAT16 * maxCluster * Sector
	}
	// Larger volumes never have smaller clusters, but for those of the narrower types that Auto begins with. So what
	// the files take in this one is what a larger one has at least.
	for size := max(t.bytes/mib, 1) * mib; size <= most; size += mib {
		g := geometryOf(size, opts.Type, t.root.entries)
		if g == nil {
			continue
		}
		need := t.clusters(g)
		if need <= g.clusters {
			return g, nil
		}
		if opts.Type != Auto || g.typ == FAT32 {
			size = max(size, need*g.clusterSize()/mib*mib-mib)
		}
	}
	return nil, step.Failf("%d bytes of files do not fit into any FAT%s volume: leave files out or put them into another partition", t.bytes, opts.Type)
}

func wrongSize(opts Options) error {
	switch opts.Type {
	case FAT12:
		return step.Failf("a FAT12 volume cannot have %d bytes: choose 64 KiB to 127 MiB, or FAT16", opts.Size)
	case FAT16:
		return step.Failf("a FAT16 volume cannot have %d bytes: choose 3 MiB to 2047 MiB, or FAT32 for more", opts.Size)
	case FAT32:
		return step.Failf("a FAT32 volume cannot have %d bytes: it has 65525 clusters at least, so choose 33 MiB or more", opts.Size)
	}
	return step.Failf("a FAT volume cannot have %d bytes: choose 64 KiB or more", opts.Size)
}

// String is the width in bits, or "" for Auto.
func (t Type) String() string {
	switch t {
	case FAT12:
		return "12"
	case FAT16:
		return "16"
	case FAT32:
		return "32"
	}
	return ""
}
