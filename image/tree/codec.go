package tree

import (
	"archive/tar"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

// The index is the magic, then records: 'B' introduces a body blob (its number is how many came before it), 'E' is an
// entry, 'Z' ends the index. Numbers are varints, strings are length-prefixed, PAX records are sorted by name.
const (
	magic      = "kiln tree 1\n"
	recordBlob = 'B'
	recordItem = 'E'
	recordEnd  = 'Z'

	maxString  = 1 << 20 // of a name, a link, a PAX record
	maxInline  = 1 << 20
	maxRecords = 1 << 10 // PAX records of one entry
)

// ErrCorrupt: the bytes are not an index.
var ErrCorrupt = errors.New("not a tree index")

// Writer writes an index.
type Writer struct {
	w     *bufio.Writer
	blobs map[cache.Digest]uint64
	buf   []byte
}

// NewWriter starts an index on w.
func NewWriter(w io.Writer) *Writer {
	t := &Writer{w: bufio.NewWriterSize(w, 64<<10), blobs: map[cache.Digest]uint64{}}
	t.w.WriteString(magic)
	return t
}

// Append adds an entry. Errors of the underlying writer show in Close.
func (t *Writer) Append(e *Entry) error {
	if len(e.Body.Inline) > maxInline {
		return fmt.Errorf("entry %q: %d bytes inline, at most %d are allowed", e.Name, len(e.Body.Inline), maxInline)
	}
	if err := checkName(e); err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	for _, s := range []string{e.Name, e.Linkname, e.Uname, e.Gname} {
		if len(s) > maxString {
			return fmt.Errorf("entry %.64q: a string of %d bytes, at most %d are allowed", e.Name, len(s), maxString)
		}
	}
	if len(e.PAX) > maxRecords {
		return fmt.Errorf("entry %q: %d PAX records, at most %d are allowed", e.Name, len(e.PAX), maxRecords)
	}
	number := uint64(0) // 0: inline
	if e.Body.Inline == nil && e.Body.Size > 0 {
		n, ok := t.blobs[e.Body.Blob]
		if !ok {
			n = uint64(len(t.blobs)) + 1
			t.blobs[e.Body.Blob] = n
			sum := e.Body.Blob.Sum()
			t.w.WriteByte(recordBlob)
			t.w.Write(sum[:])
		}
		number = n
	}
	b := append(t.buf[:0], recordItem, e.Type)
	b = str(b, e.Name)
	b = str(b, e.Linkname)
	b = str(b, e.Uname)
	b = str(b, e.Gname)
	b = binary.AppendVarint(b, e.Mode)
	b = binary.AppendVarint(b, int64(e.UID))
	b = binary.AppendVarint(b, int64(e.GID))
	b = binary.AppendVarint(b, e.Devmajor)
	b = binary.AppendVarint(b, e.Devminor)
	for _, at := range []time.Time{e.ModTime, e.AccessTime, e.ChangeTime} {
		b = stamp(b, at)
	}
	b = binary.AppendUvarint(b, uint64(len(e.PAX)))
	for _, k := range slices.Sorted(maps.Keys(e.PAX)) {
		b = str(str(b, k), e.PAX[k])
	}
	b = binary.AppendUvarint(b, number)
	if number == 0 {
		b = str(b, string(e.Body.Inline))
	} else {
		b = binary.AppendUvarint(b, uint64(e.Body.Offset))
		b = binary.AppendUvarint(b, uint64(e.Body.Size))
	}
	t.buf = b
	_, err := t.w.Write(b)
	return err
}

// Close ends the index; it does not close the underlying writer.
func (t *Writer) Close() error {
	t.w.WriteByte(recordEnd)
	return t.w.Flush()
}

func str(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// stamp writes 0 for the zero time, else 1, seconds and nanoseconds.
func stamp(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = binary.AppendVarint(append(b, 1), t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

// Reader reads an index entry by entry, in bounded memory.
type Reader struct {
	r     *bufio.Reader
	blobs []cache.Digest
	done  bool
}

// NewReader reads the start of an index.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(t.r, head); err != nil || string(head) != magic {
		return nil, fmt.Errorf("%w: no magic", ErrCorrupt)
	}
	return t, nil
}

// Next returns the next entry, io.EOF after the last.
func (t *Reader) Next() (*Entry, error) {
	for {
		if t.done {
			return nil, io.EOF
		}
		kind, err := t.r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: it ends early", ErrCorrupt)
		}
		switch kind {
		case recordEnd:
			t.done = true
		case recordBlob:
			var sum [32]byte
			if _, err := io.ReadFull(t.r, sum[:]); err != nil {
				return nil, fmt.Errorf("%w: it ends early", ErrCorrupt)
			}
			t.blobs = append(t.blobs, cache.FromSum(sum))
		case recordItem:
			e, err := t.entry()
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			return e, nil
		default:
			return nil, fmt.Errorf("%w: record %q", ErrCorrupt, kind)
		}
	}
}

// Blobs are the body blobs seen so far; all of them after io.EOF.
func (t *Reader) Blobs() []cache.Digest { return t.blobs }

func (t *Reader) entry() (*Entry, error) {
	d := decoder{r: t.r}
	e := &Entry{Type: d.byte(), Name: d.str(maxString), Linkname: d.str(maxString), Uname: d.str(maxString), Gname: d.str(maxString)}
	e.Mode, e.UID, e.GID = d.int(), int(d.int()), int(d.int())
	e.Devmajor, e.Devminor = d.int(), d.int()
	e.ModTime, e.AccessTime, e.ChangeTime = d.time(), d.time(), d.time()
	records := d.uint()
	if records > maxRecords {
		return nil, fmt.Errorf("%d PAX records", records)
	}
	last := ""
	for n := range records {
		k := d.str(maxString)
		if d.err == nil && n > 0 && k <= last {
			d.err = errors.New("PAX records out of order")
		}
		if d.err != nil {
			break
		}
		if e.PAX == nil {
			e.PAX = make(map[string]string, min(records, 16))
		}
		e.PAX[k], last = d.str(maxString), k
	}
	number := d.uint()
	if number == 0 {
		if s := d.str(maxInline); s != "" {
			e.Body.Inline = []byte(s)
			e.Body.Size = int64(len(s))
		}
	} else {
		offset, size := d.uint(), d.uint()
		if d.err == nil && (number > uint64(len(t.blobs)) || offset > 1<<62 || size > 1<<62 || size == 0) {
			d.err = errors.New("a body that is not there")
		}
		if d.err != nil {
			return nil, d.err
		}
		e.Body = Body{Blob: t.blobs[number-1], Offset: int64(offset), Size: int64(size)}
	}
	if d.err == nil {
		d.err = checkName(e)
	}
	return e, d.err
}

// checkName refuses names that would leave the root of what the tree is unpacked to. Writers never make one. A leading slash
// says nothing, wherever trees are unpacked, and a directory without a name is the root: LinuxKit's tars have both.
func checkName(e *Entry) error {
	if e.Name == "" && e.Type != tar.TypeDir || strings.ContainsRune(e.Name, 0) {
		return fmt.Errorf("an entry named %q", e.Name)
	}
	for element := range strings.SplitSeq(e.Name, "/") {
		if element == ".." {
			return fmt.Errorf("an entry named %q", e.Name)
		}
	}
	return nil
}

// decoder reads primitive values and keeps the first error.
type decoder struct {
	r   *bufio.Reader
	err error
}

func (d *decoder) byte() byte {
	if d.err != nil {
		return 0
	}
	var b byte
	b, d.err = d.r.ReadByte()
	return b
}

func (d *decoder) uint() uint64 {
	if d.err != nil {
		return 0
	}
	var v uint64
	v, d.err = binary.ReadUvarint(d.r)
	return v
}

func (d *decoder) int() int64 {
	if d.err != nil {
		return 0
	}
	var v int64
	v, d.err = binary.ReadVarint(d.r)
	return v
}

func (d *decoder) str(limit uint64) string {
	n := d.uint()
	if d.err == nil && n > limit {
		d.err = fmt.Errorf("a string of %d bytes", n)
	}
	if d.err != nil || n == 0 {
		return ""
	}
	b := make([]byte, n)
	_, d.err = io.ReadFull(d.r, b)
	return string(b)
}

func (d *decoder) time() time.Time {
	switch d.byte() {
	case 0:
		return time.Time{}
	case 1:
		sec, nsec := d.int(), d.uint()
		if d.err == nil && nsec >= 1e9 {
			d.err = errors.New("a time with too many nanoseconds")
		}
		return time.Unix(sec, int64(nsec)).UTC()
	}
	if d.err == nil {
		d.err = errors.New("a time of an unknown form")
	}
	return time.Time{}
}
