package iso9660

// A disk's first sector, in the system area of the ISO (SYSLINUX, utils/isohybrid.c; UEFI specification 2.10 §5.2.1).
// Offsets in bytes.
const (
	diskCodeLen  = 432
	bootFileAt   = 432 // where isohdpfx.bin looks for the place of isolinux.bin, in sectors of 512 bytes
	diskIDAt     = 440
	partitionsAt = 446
	partitionLen = 16
	signatureAt  = 510

	// hybridMagic says that an isolinux.bin can start from a disk.
	hybridMagic = 0x7078c0fb

	active       = 0x80
	partitionISO = 0x17 // hidden: no system takes it for its own
	partitionEFI = 0xef
	perISOSector = Sector / diskSector
	heads        = 64
	perTrack     = 32
	lastCylinder = 1023
	cylinder     = heads * perTrack / perISOSector // in sectors of the ISO: 1 MiB
)

// diskTable says whether the image is for disks, too.
func (w *writer) diskTable() bool {
	return w.o.EFI != nil || w.o.BIOS != nil && w.o.BIOS.DiskCode != nil
}

// partitionTable is the first sector. One partition is the ISO; the EFI image after it is another one, since EDK2 takes
// no table with partitions that overlap.
func (w *writer) partitionTable() []byte {
	if !w.diskTable() {
		return nil
	}
	p := make([]byte, diskSector)
	var flags byte
	if w.bios != nil && w.o.BIOS.DiskCode != nil {
		copy(p, w.o.BIOS.DiskCode)
		le.PutUint32(p[bootFileAt:], w.bios.lba*perISOSector)
		flags = active
	}
	le.PutUint32(p[diskIDAt:], w.o.DiskID)
	iso := w.end
	if w.efi != nil {
		iso = w.efi.lba
		copy(p[partitionsAt+partitionLen:], partition(0, partitionEFI, w.efi.lba, w.end-w.efi.lba))
	}
	copy(p[partitionsAt:], partition(flags, partitionISO, 0, iso))
	p[signatureAt], p[signatureAt+1] = 0x55, 0xaa
	return p
}

// partition is an entry of the table for that many sectors of the ISO.
func partition(flags, kind byte, lba, count uint32) []byte {
	p := []byte{flags}
	p = append(p, geometry(int64(lba)*perISOSector)...)
	p = append(p, kind)
	p = append(p, geometry(int64(lba+count)*perISOSector-1)...)
	p = le.AppendUint32(p, lba*perISOSector)
	return le.AppendUint32(p, count*perISOSector)
}

// geometry is a sector's head, sector and cylinder, or the last ones that can be said.
func geometry(sector int64) []byte {
	c, h, s := sector/(heads*perTrack), sector/perTrack%heads, sector%perTrack+1
	if c > lastCylinder {
		c, h, s = lastCylinder, heads-1, perTrack
	}
	return []byte{byte(h), byte(s | c>>8<<6), byte(c)}
}
