package extsort

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const (
	// readAhead is the buffer of one run while runs are merged, in bytes.
	readAhead = 32 << 10
	// perRecord is what a record costs in memory beside its bytes.
	perRecord = 8
	// MaxRecord is the size of the largest record, in bytes.
	MaxRecord = 4 << 20
)

// Sorter takes records in any order and gives them back sorted. One goroutine at a time may use it.
type Sorter struct {
	limit   int
	scratch func() (*os.File, error)

	buf     []byte // records, one after the other
	records []span // in buf
	file    *os.File
	size    int64 // of file
	runs    []int64
}

// span is where a record stands.
type span struct{ from, to uint32 }

// New makes a sorter that holds about limit bytes (at most 1 GiB) in memory; scratch makes the file for the rest.
func New(limit int, scratch func() (*os.File, error)) *Sorter {
	return &Sorter{limit: min(limit, 1<<30), scratch: scratch}
}

// Add takes a record; its bytes are copied.
func (s *Sorter) Add(record []byte) error {
	if len(record) > MaxRecord {
		return fmt.Errorf("sort a record of %d bytes: at most %d are allowed", len(record), MaxRecord)
	}
	if len(s.records) > 0 && len(s.buf)+len(record)+(len(s.records)+1)*perRecord > s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	from := len(s.buf)
	s.buf = append(s.buf, record...)
	s.records = append(s.records, span{uint32(from), uint32(len(s.buf))})
	return nil
}

func (s *Sorter) sort() {
	slices.SortFunc(s.records, func(a, b span) int { return bytes.Compare(s.buf[a.from:a.to], s.buf[b.from:b.to]) })
}

// spill writes what is in memory as one run.
func (s *Sorter) spill() error {
	if s.file == nil {
		f, err := s.scratch()
		if err != nil {
			return fmt.Errorf("sort: %w", err)
		}
		s.file = f
	}
	s.sort()
	w := bufio.NewWriterSize(s.file, readAhead)
	var head [binary.MaxVarintLen32]byte
	for _, r := range s.records {
		n := binary.PutUvarint(head[:], uint64(r.to-r.from))
		w.Write(head[:n])
		w.Write(s.buf[r.from:r.to])
		s.size += int64(n) + int64(r.to-r.from)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write sorted records: %w", err)
	}
	s.runs = append(s.runs, s.size)
	s.buf, s.records = s.buf[:0], s.records[:0]
	return nil
}

// Sorted ends adding and returns what reads the records in order.
func (s *Sorter) Sorted() (*Iterator, error) {
	if len(s.runs) == 0 {
		s.sort()
		return &Iterator{sorter: s}, nil
	}
	if len(s.records) > 0 {
		if err := s.spill(); err != nil {
			return nil, err
		}
	}
	s.buf, s.records = nil, nil
	it := &Iterator{sorter: s}
	from := int64(0)
	for n, to := range s.runs {
		r := &run{number: n, r: bufio.NewReaderSize(io.NewSectionReader(s.file, from, to-from), readAhead)}
		if err := r.next(); err != nil {
			return nil, err
		}
		it.runs = append(it.runs, r)
		from = to
	}
	heap.Init(&it.runs)
	return it, nil
}

// Close gives memory and the scratch file back. Iterators end with it.
func (s *Sorter) Close() {
	if s.file != nil {
		_ = s.file.Close()
	}
	*s = Sorter{}
}

// Iterator reads records in the order of their bytes.
type Iterator struct {
	sorter *Sorter
	at     int // in memory
	runs   merge
	begun  bool
}

// Next returns the next record, which is the caller's until the next call; io.EOF after the last.
func (it *Iterator) Next() ([]byte, error) {
	if it.runs == nil {
		if it.at == len(it.sorter.records) {
			return nil, io.EOF
		}
		r := it.sorter.records[it.at]
		it.at++
		return it.sorter.buf[r.from:r.to:r.to], nil
	}
	if it.begun && len(it.runs) > 0 { // the record that was given last is used up
		first := it.runs[0]
		switch err := first.next(); {
		case err == io.EOF:
			heap.Pop(&it.runs)
		case err != nil:
			return nil, err
		default:
			heap.Fix(&it.runs, 0)
		}
	}
	it.begun = true
	if len(it.runs) == 0 {
		return nil, io.EOF
	}
	return it.runs[0].record, nil
}

// run is one sorted run; record is its first that is not used up.
type run struct {
	number int
	r      *bufio.Reader
	record []byte
}

func (r *run) next() error {
	n, err := binary.ReadUvarint(r.r)
	if err == io.EOF {
		return io.EOF
	}
	if err == nil && n > MaxRecord {
		err = errors.New("damaged")
	}
	if err == nil {
		r.record = slices.Grow(r.record[:0], int(n))[:n]
		_, err = io.ReadFull(r.r, r.record)
	}
	if err != nil {
		return fmt.Errorf("read sorted records: %w", err)
	}
	return nil
}

// merge is a heap of runs by their first records.
type merge []*run

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	if c := bytes.Compare(m[i].record, m[j].record); c != 0 {
		return c < 0
	}
	return m[i].number < m[j].number
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(*run)) }
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
