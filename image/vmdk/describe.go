package vmdk

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// Flags of the header.
const (
	flagNewlines   = 1 << 0 // the four characters that tell a damaged transfer are there
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17
)

// Heads and sectors per track of SCSI disks, as VMware has them.
const (
	heads    = 255
	perTrack = 63
)

// capacity is the disk's size in sectors: whole grains, and at least one.
func capacity(disk *extents.List) int64 {
	return max((disk.Size()+grain-1)/grain, 1) * (grain / sector)
}

// header is the SparseExtentHeader of version 3, which is the one of stream-optimized disks.
func header(disk *extents.List, directory uint64) []byte {
	b, le := make([]byte, sector), binary.LittleEndian
	copy(b, "KDMV")
	le.PutUint32(b[4:], 3)
	le.PutUint32(b[8:], flagNewlines|flagCompressed|flagMarkers)
	le.PutUint64(b[12:], uint64(capacity(disk)))
	le.PutUint64(b[20:], grain/sector)
	le.PutUint64(b[28:], 1) // the descriptor
	le.PutUint64(b[36:], descriptors)
	le.PutUint32(b[44:], perTable)
	le.PutUint64(b[56:], directory)
	le.PutUint64(b[64:], overhead)
	copy(b[73:], "\n \r\n")
	le.PutUint16(b[77:], 1) // deflate
	return b
}

// descriptor is the text that says what disk this is.
func descriptor(disk *extents.List, opts Options) (string, error) {
	name, cid := opts.Name, opts.CID
	if name == "" {
		name = "disk.vmdk"
	}
	if cid == 0 {
		cid = 0xfffffffe
	}
	if len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }) {
		return "", step.Failf("%q cannot be the name of a VMDK file: choose up to 255 characters without quotes", name)
	}
	if cid == 0xffffffff {
		return "", step.Failf("the contents of a VMDK file cannot have the id ffffffff, which says that there are none: choose another")
	}
	sectors := capacity(disk)
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=%08x
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "%s"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.virtualHWVersion = "10"
`, cid, sectors, name, max(sectors/(heads*perTrack), 1), heads, perTrack), nil
}
