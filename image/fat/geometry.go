package fat

// Limits of the cluster counts that tell the types from each other ("FAT type determination" in the specification).
// Its advice to stay 16 clusters away from them is taken.
const (
	minFAT16 = 4085 + 16
	minFAT32 = 65525 + 16
	maxFAT12 = 4084 - 16
	maxFAT16 = 65524 - 16
	maxFAT32 = 0x0ffffff5 - 16
)

const (
	tables = 2 // copies of the table
	// alignSectors is where the data area begins, at least: 4 KiB.
	alignSectors = 8
	// maxCluster is the largest cluster that everybody reads, in sectors: 32 KiB.
	maxCluster = 64
	// rootEntries is how many entries the root directory of FAT12 and FAT16 has, at least.
	rootEntries = 512
	maxRoot     = 65520 // of a 16-bit field, in whole sectors
)

// geometry is where everything in a volume lies, in sectors.
type geometry struct {
	typ               Type
	sectors           int64 // of the whole volume
	reserved          int64 // before the first table
	tableSectors      int64 // of one table
	rootSectors       int64 // of the root directory of FAT12 and FAT16; 0 for FAT32
	sectorsPerCluster int64
	clusters          int64 // for data; their numbers begin with 2
}

// geometryOf is the geometry of a volume of size bytes whose root directory has that many entries; nil when there is
// none.
func geometryOf(size int64, typ Type, entries int) *geometry {
	if typ != Auto {
		return geometryFor(size, typ, entries)
	}
	for _, typ := range []Type{FAT32, FAT16, FAT12} {
		if g := geometryFor(size, typ, entries); g != nil {
			return g
		}
	}
	return nil
}

// geometryFor chooses the cluster size. Small clusters waste less of a volume with small files, large ones make
// smaller tables: it is 4 KiB (2 KiB in FAT16) where the count of clusters allows it.
func geometryFor(size int64, typ Type, entries int) *geometry {
	first, least, most := int64(8), int64(minFAT32), int64(1<<19)
	switch typ {
	case FAT12:
		first, least, most = 1, 1, maxFAT12
	case FAT16:
		first, least, most = 4, minFAT16, maxFAT16
	}
	g := newGeometry(size, typ, first, entries)
	for g != nil && g.clusters > most && g.sectorsPerCluster < maxCluster {
		g = newGeometry(size, typ, g.sectorsPerCluster*2, entries)
	}
	for (g == nil || g.clusters < least) && first > 1 {
		first /= 2
		g = newGeometry(size, typ, first, entries)
	}
	if typ == FAT32 {
		most = maxFAT32
	}
	if g == nil || g.clusters < least || g.clusters > most {
		return nil
	}
	return g
}

// newGeometry is nil when there is no room for a cluster, or the root directory is too large.
func newGeometry(size int64, typ Type, perCluster int64, entries int) *geometry {
	g := &geometry{typ: typ, sectors: size / Sector, sectorsPerCluster: perCluster, reserved: 1}
	if typ == FAT32 {
		g.reserved = 32
	} else {
		entries = (max(entries, rootEntries) + 15) &^ 15
		if entries > maxRoot {
			return nil
		}
		g.rootSectors = int64(entries) * entrySize / Sector
	}
	// The tables hold a number for each cluster, and fewer clusters are left the larger the tables are. Beginning with tables for
	// more than there can be, each round is nearer; the last one is right or a little too large.
	g.count()
	for range 4 {
		g.tableSectors = (((g.clusters+2)*int64(typ)+7)/8 + Sector - 1) / Sector
		g.count()
	}
	for g.clusters > 0 && (g.clusters+2)*int64(typ) > g.tableSectors*Sector*8 {
		g.tableSectors++
		g.count()
	}
	align := max(perCluster, alignSectors)
	g.reserved += (align - g.dataStart()%align) % align
	g.count()
	if g.clusters < 1 {
		return nil
	}
	return g
}

func (g *geometry) count() {
	g.clusters = max(g.sectors-g.dataStart(), 0) / g.sectorsPerCluster
}

func (g *geometry) rootStart() int64 { return g.reserved + tables*g.tableSectors }

// dataStart is the sector of cluster 2.
func (g *geometry) dataStart() int64 { return g.rootStart() + g.rootSectors }

func (g *geometry) clusterSize() int64 { return g.sectorsPerCluster * Sector }

// clustersFor is how many clusters n bytes take.
func (g *geometry) clustersFor(n int64) int64 { return (n + g.clusterSize() - 1) / g.clusterSize() }

// offset is where a cluster begins, in bytes.
func (g *geometry) offset(cluster int64) int64 {
	return (g.dataStart() + (cluster-2)*g.sectorsPerCluster) * Sector
}
