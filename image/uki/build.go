package uki

import (
	"bytes"
	"fmt"
	"math"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// Sections are the parts of a unified kernel image; nil or empty ones are left out. Linux is needed.
type Sections struct {
	OSRelease *extents.List // .osrel: an os-release(5) file, by which boot loaders name the image
	Cmdline   *extents.List // .cmdline: UTF-8 text; systemd-stub drops spaces and line ends after it
	Uname     *extents.List // .uname: what uname -r will say
	Initrd    *extents.List // .initrd
	Linux     *extents.List // .linux: the kernel, see Check

	// Machine is what the image is for; 0 leaves it to the stub.
	Machine Machine
}

const (
	// page is the least alignment of sections in memory: stubs say less, but memory is protected by pages.
	page = 4096

	// Characteristics of sections (PE/COFF specification, "Section Flags").
	containsCode = 0x20
	containsData = 0x40
	mayBeRead    = 0x40000000

	anotherStub = "give systemd's linuxx64.efi.stub or linuxaa64.efi.stub, of version 252 or newer"
)

// Build appends the sections to a stub as ukify and objcopy do: .linux is the last, since old stubs have the kernel
// unpack itself where it is and what follows it. What follows the stub's own sections (symbols, a signature) is left out.
func Build(stub []byte, s Sections) (*extents.List, error) {
	m, err := parse(bytes.NewReader(stub), int64(len(stub)))
	if err != nil {
		return nil, blame(err, "the EFI stub", anotherStub)
	}
	if m.subsystem != efiApplication {
		return nil, step.Failf("the EFI stub is no EFI application; %s", anotherStub)
	}
	if s.Machine != 0 && m.machine != s.Machine {
		return nil, step.Failf("the EFI stub is for %s, not for %s; give the stub of that platform", m.machine, s.Machine)
	}
	if s.Linux == nil || s.Linux.Size() == 0 {
		return nil, step.Failf("a unified kernel image needs a kernel, and there is none; name one in kernel: image")
	}
	l, err := newLayout(stub, m)
	if err != nil {
		return nil, blame(err, "the EFI stub", anotherStub)
	}
	for _, part := range []struct {
		name    string
		content *extents.List
		flags   uint32
	}{
		{".osrel", s.OSRelease, containsData},
		{".cmdline", s.Cmdline, containsData},
		{".uname", s.Uname, containsData},
		{".initrd", s.Initrd, containsData},
		{".linux", s.Linux, containsCode},
	} {
		if part.content == nil || part.content.Size() == 0 {
			continue
		}
		if err := l.add(part.name, part.content, part.flags|mayBeRead); err != nil {
			return nil, err
		}
	}
	return l.finish(), nil
}

// layout is a unified kernel image in the making.
type layout struct {
	image       *image
	header      []byte // the stub's headers, which grow more entries
	body        *extents.List
	sections    int
	initialized int64 // SizeOfInitializedData
	fileAlign   int64
	memoryAlign int64
	memory      int64 // where the next section may be
}

// newLayout takes the stub's headers and sections.
func newLayout(stub []byte, m *image) (*layout, error) {
	optional := stub[m.optional:m.table]
	l := &layout{
		image: m, header: bytes.Clone(stub[:m.sizeOfHeaders]), body: &extents.List{}, sections: len(m.sections),
		initialized: int64(le.Uint32(optional[sizeOfInitializedDataAt:])),
		fileAlign:   int64(le.Uint32(optional[fileAlignmentAt:])),
		memoryAlign: max(page, int64(le.Uint32(optional[sectionAlignmentAt:]))),
	}
	// PE/COFF specification, "Optional Header Windows-Specific Fields": a power of 2 between 512 and 64 K.
	if l.fileAlign < 512 || l.fileAlign > 64<<10 || l.fileAlign&(l.fileAlign-1) != 0 {
		return nil, damage(fmt.Sprintf("its file alignment is %d", l.fileAlign))
	}
	if l.memoryAlign > 1<<20 || l.memoryAlign&(l.memoryAlign-1) != 0 {
		return nil, damage(fmt.Sprintf("its section alignment is %d", l.memoryAlign))
	}
	l.memory = m.sizeOfHeaders
	for _, s := range m.sections {
		if s.name == ".linux" {
			return nil, damage("it is a unified kernel image already")
		}
		l.memory = max(l.memory, s.address+s.virtualSize)
	}
	// The digest is over sections and then over as many bytes as are left (see AuthenticodeDigest): with gaps between
	// sections other tools would disagree with firmware.
	if m.sizeOfHeaders%l.fileAlign != 0 {
		return nil, damage(fmt.Sprintf("its headers of %d bytes are not aligned to %d", m.sizeOfHeaders, l.fileAlign))
	}
	end := m.sizeOfHeaders
	for _, s := range m.inOrder() {
		if s.raw != end || s.rawSize%l.fileAlign != 0 {
			return nil, damage(fmt.Sprintf("its section %q does not follow what is before it", s.name))
		}
		end += s.rawSize
	}
	l.body.Bytes(stub[m.sizeOfHeaders:end])
	return l, nil
}

// add appends a section.
func (l *layout) add(name string, content *extents.List, flags uint32) error {
	at := l.image.table + int64(l.sections)*sectionHeaderLen
	if at+sectionHeaderLen > l.image.sizeOfHeaders || l.sections >= maxSections {
		return step.Failf("the EFI stub has no room in its headers for the section %s; %s", name, anotherStub)
	}
	l.memory = align(l.memory, l.memoryAlign)
	raw := l.image.sizeOfHeaders + l.body.Size()
	rawSize := align(content.Size(), l.fileAlign)
	if l.memory+rawSize+l.memoryAlign > math.MaxUint32 || raw+rawSize > math.MaxUint32 {
		return step.Failf("a unified kernel image cannot be larger than 4 GiB, and is with its section %s of %d bytes; "+
			"leave something out of the image, or take a disk format", name, content.Size())
	}
	h := l.header[at : at+sectionHeaderLen]
	clear(h) // arm64 stubs made with gnu-efi have no-operations there
	copy(h[:sectionNameLen], name)
	le.PutUint32(h[8:], uint32(content.Size()))
	le.PutUint32(h[12:], uint32(l.memory))
	le.PutUint32(h[16:], uint32(rawSize))
	le.PutUint32(h[20:], uint32(raw))
	le.PutUint32(h[36:], flags)
	l.body.Append(content)
	l.body.Zeros(rawSize - content.Size())
	l.sections++
	l.memory += content.Size()
	l.initialized += rawSize
	return nil
}

// finish fixes the headers.
func (l *layout) finish() *extents.List {
	coff, optional := l.header[l.image.pe:], l.header[l.image.optional:]
	le.PutUint16(coff[sectionCountAt:], uint16(l.sections))
	le.PutUint64(coff[symbolTableAt:], 0) // no symbols, no table of them
	le.PutUint32(optional[sizeOfInitializedDataAt:], uint32(min(l.initialized, math.MaxUint32)))
	le.PutUint32(optional[sizeOfImageAt:], uint32(align(l.memory, l.memoryAlign)))
	le.PutUint32(optional[checkSumAt:], 0)
	if l.image.security != 0 {
		le.PutUint64(l.header[l.image.security:], 0)
	}
	out := extents.Bytes(l.header)
	out.Append(l.body)
	return out
}

// align is n or the next multiple of to, a power of 2.
func align(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }
