package uki

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kiln-farm/kiln/image/step"
)

// Offsets and sizes in a PE file (PE/COFF specification, "MS-DOS Stub", "COFF File Header", "Optional Header",
// "Section Table"). Numbers are little endian.
const (
	dosHeaderLen = 0x40
	lfanewAt     = 0x3c // of the PE signature's offset in the file

	coffHeaderLen     = 24 // with the signature
	machineAt         = 4  // from the PE signature
	sectionCountAt    = 6
	symbolTableAt     = 12 // pointer, then number of symbols
	optionalHeaderLen = 20

	sizeOfInitializedDataAt = 8 // from the optional header
	sectionAlignmentAt      = 32
	fileAlignmentAt         = 36
	sizeOfImageAt           = 56
	sizeOfHeadersAt         = 60
	checkSumAt              = 64
	checkSumLen             = 4
	subsystemAt             = 68
	directoryCountAt        = 108 // in PE32+
	directoriesAt           = 112
	directoryLen            = 8
	securityDirectory       = 4 // number of the attribute certificate table's directory

	magicPE32Plus  = 0x20b
	efiApplication = 10 // subsystem

	sectionHeaderLen = 40
	sectionNameLen   = 8
	// maxSections is what Windows takes; EDK2 and systemd-stub have no limit of their own.
	maxSections = 96
	// maxHeaders bounds what is read of an unknown file. The headers of arm64 kernels are 64 KiB long.
	maxHeaders = 1 << 20
)

var le = binary.LittleEndian

// image is what the headers of a PE file say.
type image struct {
	size     int64
	machine  Machine
	pe       int64 // offset of the PE signature
	optional int64 // of the optional header
	table    int64 // of the section table
	// sizeOfHeaders is how long all headers are, with room for more.
	sizeOfHeaders int64
	subsystem     uint16
	// security is the offset of the certificate table's directory entry, 0 when there is none.
	security  int64
	certStart int64 // of the attribute certificate table, 0 when there is none
	certSize  int64
	sections  []section // in their order in the file's table
}

// section is an entry of the section table.
type section struct {
	name                 string
	virtualSize, address int64
	rawSize, raw         int64 // in the file
}

// damage is a fault of a file, which a caller makes a sentence of.
type damage string

func (d damage) Error() string { return string(d) }

// parse reads the headers of a PE32+ file of size bytes. An error that is no damage is r's.
func parse(r io.ReaderAt, size int64) (*image, error) {
	dos, err := readAt(r, 0, dosHeaderLen, size)
	if err != nil {
		return nil, err
	}
	if string(dos[:2]) != "MZ" {
		return nil, damage("it is no PE file")
	}
	m := &image{size: size, pe: int64(le.Uint32(dos[lfanewAt:]))}
	if m.pe < dosHeaderLen || m.pe > maxHeaders {
		return nil, damage("its PE header is out of place")
	}
	coff, err := readAt(r, m.pe, coffHeaderLen, size)
	if err != nil {
		return nil, err
	}
	if string(coff[:4]) != "PE\x00\x00" {
		return nil, damage("it has no PE header")
	}
	m.machine = Machine(le.Uint16(coff[machineAt:]))
	m.optional = m.pe + coffHeaderLen
	optional, err := readAt(r, m.optional, int64(le.Uint16(coff[optionalHeaderLen:])), size)
	if err != nil {
		return nil, err
	}
	m.table = m.optional + int64(len(optional))
	if err := m.readOptional(optional); err != nil {
		return nil, err
	}
	count := int64(le.Uint16(coff[sectionCountAt:]))
	if count > maxSections {
		return nil, damage(fmt.Sprintf("it has %d sections, more than %d", count, maxSections))
	}
	table, err := readAt(r, m.table, count*sectionHeaderLen, size)
	if err != nil {
		return nil, err
	}
	if m.table+int64(len(table)) > m.sizeOfHeaders {
		return nil, damage("its section table is longer than its headers")
	}
	for h := range slices.Chunk(table, sectionHeaderLen) {
		name, _, _ := bytes.Cut(h[:sectionNameLen], []byte{0})
		s := section{
			name:        string(name),
			virtualSize: int64(le.Uint32(h[8:])), address: int64(le.Uint32(h[12:])),
			rawSize: int64(le.Uint32(h[16:])), raw: int64(le.Uint32(h[20:])),
		}
		if s.rawSize > 0 && (s.raw < m.sizeOfHeaders || s.raw+s.rawSize > size-m.certSize) {
			return nil, damage(fmt.Sprintf("its section %q is beyond its end", s.name))
		}
		m.sections = append(m.sections, s)
	}
	return m, nil
}

// readOptional reads the optional header.
func (m *image) readOptional(h []byte) error {
	if len(h) < directoriesAt {
		return damage("its optional header is too short")
	}
	if magic := le.Uint16(h); magic != magicPE32Plus {
		return damage(fmt.Sprintf("it is not a 64-bit PE file (PE32+): its magic number is %#x", magic))
	}
	m.sizeOfHeaders = int64(le.Uint32(h[sizeOfHeadersAt:]))
	if m.sizeOfHeaders < m.table || m.sizeOfHeaders > min(m.size, maxHeaders) {
		return damage("the size of its headers is wrong")
	}
	m.subsystem = le.Uint16(h[subsystemAt:])
	const entry = directoriesAt + securityDirectory*directoryLen
	if le.Uint32(h[directoryCountAt:]) <= securityDirectory || len(h) < entry+directoryLen {
		return nil
	}
	m.security = m.optional + entry
	m.certStart, m.certSize = int64(le.Uint32(h[entry:])), int64(le.Uint32(h[entry+4:]))
	if m.certSize == 0 {
		m.certStart = 0
		return nil
	}
	if m.certStart < m.sizeOfHeaders || m.certStart+m.certSize != m.size {
		return damage("its signatures are not at its end")
	}
	return nil
}

// inOrder are the sections that have bytes in the file, as they follow each other there.
func (m *image) inOrder() []section {
	out := slices.DeleteFunc(slices.Clone(m.sections), func(s section) bool { return s.rawSize == 0 })
	slices.SortStableFunc(out, func(a, b section) int { return int(a.raw - b.raw) })
	return out
}

// readAt reads n bytes at off of a file of size bytes.
func readAt(r io.ReaderAt, off, n, size int64) ([]byte, error) {
	if off < 0 || n < 0 || off > size || n > size-off {
		return nil, damage("it ends within its headers")
	}
	p := make([]byte, n)
	if read, err := r.ReadAt(p, off); int64(read) < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return p, nil
}

// blame makes a damage a sentence about what, with its remedy; other errors are passed on.
func blame(err error, what, remedy string) error {
	var d damage
	if errors.As(err, &d) {
		return step.Failf("%s cannot be used: %w; %s", what, d, remedy)
	}
	return fmt.Errorf("read %s: %w", what, err)
}
