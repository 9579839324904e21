package iso9660

import (
	"archive/tar"
	"bytes"
	"math"
	"time"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
)

// Sector is the size of a logical sector in bytes (ECMA-119 §6.1.2).
const Sector = 2048

const (
	// systemArea is what the standard leaves to others, in sectors (ECMA-119 §6.2.1).
	systemArea = 16
	// maxSection is the largest part of a file in bytes: its length has 32 bits (ECMA-119 §9.1.4).
	maxSection = 1<<32 - Sector
	// maxSectors is what partition tables can say, in sectors of the ISO; its own numbers go to 8 TiB.
	maxSectors = math.MaxUint32 / perISOSector
)

// File is a file that the tree does not have. Directories are made as needed.
type File struct {
	Name    string        // "boot/kernel"
	Content *extents.List // nil: an empty file
}

// Options are what the volume has beside the tree.
type Options struct {
	VolumeID string    // up to 32 printable ASCII characters; "": KILN
	Time     time.Time // of the volume, of Files and their directories; the zero Time is part.DefaultTime
	DiskID   uint32    // the disk's signature in the partition table
	Files    []File
	BIOS     *BIOS // nil: no BIOS starts the image
	EFI      *EFI  // nil: no UEFI firmware starts the image
}

// Build lays out an ISO with what is in root, which may be nil, and in the options. It does not change root.
func Build(root *fstree.Node, o Options) (*extents.List, error) {
	if o.Time.IsZero() {
		o.Time = part.DefaultTime
	}
	if o.VolumeID == "" {
		o.VolumeID = "KILN"
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	m := &merger{time: o.Time, contents: map[*fstree.Node]*extents.List{}, own: map[*fstree.Node]bool{}}
	if err := m.merge(root, o); err != nil {
		return nil, err
	}
	w := &writer{o: o, root: m.root, contents: m.contents, files: map[*fstree.Node]*placed{}}
	if err := w.number(); err != nil {
		return nil, err
	}
	var err error
	if w.primary, err = newVolume(m.root, rockRidge); err != nil {
		return nil, err
	}
	if w.joliet, err = newVolume(m.root, joliet); err != nil {
		return nil, err
	}
	return w.write()
}

func (o Options) check() error {
	if len(o.VolumeID) > maxVolumeID {
		return step.Failf("the volume name %q of an ISO has %d characters, and there is room for %d; shorten it", o.VolumeID, len(o.VolumeID), maxVolumeID)
	}
	for _, c := range []byte(o.VolumeID) {
		if c < ' ' || c > '~' {
			return step.Failf("the volume name %q of an ISO has a character that is not printable ASCII; take letters, digits and _", o.VolumeID)
		}
	}
	if y := o.Time.UTC().Year(); y < 1900 || y > 2155 {
		return step.Failf("an ISO cannot be of the year %d; take one from 1900 to 2155", y)
	}
	if err := o.BIOS.check(); err != nil {
		return err
	}
	return o.EFI.check()
}

// placed is where a node's content is.
type placed struct {
	serial  uint32 // the node's number, as an inode has one
	lba     uint32
	content *extents.List
}

// writer lays out the volume. Positions are in sectors.
type writer struct {
	o               Options
	root            *fstree.Node
	contents        map[*fstree.Node]*extents.List // of files that are not in the cache as one body
	files           map[*fstree.Node]*placed
	order           []*placed // files with content, in the order of their names
	primary, joliet *volume
	efi             *placed // the image that UEFI starts, the last of all
	bios            *placed // the image that a BIOS starts

	catalog uint32 // position of the boot catalog
	end     uint32 // of the volume
}

// number gives every node its number, and finds the contents.
func (w *writer) number() error {
	return fstree.Walk(w.root, func(path string, n *fstree.Node) error {
		if w.files[n] != nil {
			return nil
		}
		if err := checkNode(path, n); err != nil {
			return err
		}
		p := &placed{serial: uint32(len(w.files) + 1)}
		w.files[n] = p
		if n.Type != tar.TypeReg {
			return nil
		}
		if p.content = w.contents[n]; p.content == nil && n.Body.Size > 0 {
			p.content = &extents.List{}
			b := n.Body
			p.content.Add(artifact.Extent{Length: b.Size, Blob: b.Blob, Offset: b.Offset, Inline: b.Inline})
		}
		switch {
		case w.o.EFI != nil && path == clean(w.o.EFI.Name):
			w.efi = p
		case w.o.BIOS != nil && path == clean(w.o.BIOS.Name):
			w.bios = p
			w.order = append(w.order, p)
		case p.content != nil && p.content.Size() > 0:
			w.order = append(w.order, p)
		}
		return nil
	})
}

// write places everything, writes what describes it, and appends the contents.
func (w *writer) write() (*extents.List, error) {
	at := int64(systemArea + w.descriptorCount())
	for _, v := range []*volume{w.primary, w.joliet} {
		v.tables = uint32(at)
		at += 2 * sectors(v.tableSize())
	}
	for _, v := range []*volume{w.primary, w.joliet} {
		for _, d := range v.dirs {
			records, more := w.encode(v, d)
			d.lba, d.size, d.more = uint32(at), uint32(len(records)), uint32(at+sectors(int64(len(records))))
			at += sectors(int64(len(records))) + sectors(int64(len(more)))
			if at > maxSectors {
				return nil, tooLarge()
			}
		}
	}
	if w.boots() {
		w.catalog = uint32(at)
		at++
	}
	if w.efi != nil { // last: see catalogEntry
		w.order = append(w.order, w.efi)
	}
	for _, p := range w.order {
		if at > maxSectors {
			return nil, tooLarge()
		}
		p.lba = uint32(at)
		at += sectors(p.content.Size())
	}
	if w.diskTable() {
		at += (cylinder - at%cylinder) % cylinder
	}
	if at > maxSectors {
		return nil, tooLarge()
	}
	w.end = uint32(at)
	return w.assemble()
}

// assemble writes the descriptions, and the contents after them.
func (w *writer) assemble() (*extents.List, error) {
	out := extents.Bytes(w.partitionTable())
	var err error
	put := func(position uint32, p []byte) {
		if err == nil {
			err = out.To(int64(position) * Sector)
		}
		out.Bytes(bytes.Clone(bytes.TrimRight(p, "\x00"))) // most directories are much shorter than a sector
	}
	put(systemArea, w.descriptors())
	for _, v := range []*volume{w.primary, w.joliet} {
		put(v.tables, v.table(le))
		put(v.tables+uint32(sectors(v.tableSize())), v.table(be))
	}
	for _, v := range []*volume{w.primary, w.joliet} {
		for _, d := range v.dirs {
			records, more := w.encode(v, d)
			put(d.lba, records)
			put(d.more, more)
		}
	}
	if w.boots() {
		put(w.catalog, w.bootCatalog())
	}
	for _, f := range w.order {
		put(f.lba, nil)
		if f == w.bios {
			out.Bytes(w.o.BIOS.patched(f.lba))
			continue
		}
		out.Append(f.content)
	}
	put(w.end, nil)
	return out, err
}

// sectors is how many sectors n bytes need.
func sectors(n int64) int64 { return (n + Sector - 1) / Sector }

func tooLarge() error {
	return step.Failf("an ISO cannot be larger than 2 TiB; leave something out of the image")
}
