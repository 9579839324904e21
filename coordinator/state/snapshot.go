package state

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

const (
	snapshotFormat = 1
	maxRecord      = 1 << 30 // bytes of one record: a build with the largest graph stays far below
)

// ErrSnapshot: the bytes are no whole snapshot.
var ErrSnapshot = errors.New("not a snapshot of a farm's state, or a damaged one")

// ErrNewer: the bytes are of a farm whose feature level this program does not apply.
var ErrNewer = errors.New("this program is too old for the farm's state, install the release that the farm runs")

// Snapshot is the state at one moment.
type Snapshot struct{ frozen *Machine }

// Snapshot takes one. It costs a copy of a few maps of pointers; Write may run while the machine goes on.
func (m *Machine) Snapshot() *Snapshot { return &Snapshot{m.freeze()} }

// Write writes the snapshot as length-delimited records. Equal states give equal bytes.
func (s *Snapshot) Write(w io.Writer) error {
	out := &recordWriter{w: bufio.NewWriter(w)}
	m := s.frozen
	out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Header{Header: &kilnv1.SnapshotHeader{
		Format: snapshotFormat, Now: m.now, Epoch: m.epoch, Leases: m.leases, Order: m.order, Level: m.level, Steady: m.addresses.steady,
	}}})
	for _, member := range m.Members() {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Member{Member: member}})
	}
	for _, id := range m.barred {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Barred{Barred: id}})
	}
	for _, t := range m.Teams() {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Team{Team: t}})
	}
	for _, h := range m.allHolds() {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Hold{Hold: h}})
	}
	for _, r := range m.room.records() {
		out.put(r)
	}
	for _, r := range m.addressRecords() {
		out.put(r)
	}
	for _, r := range m.publishedRecords() {
		out.put(r)
	}
	for _, b := range m.Builds() {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Build{Build: encodeBuild(b)}})
	}
	for _, t := range m.Tasks() {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Task{Task: encodeTask(t)}})
	}
	for _, s := range m.seen {
		out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_Seen{Seen: &kilnv1.SnapshotSeen{Build: s.build, At: s.at}}})
	}
	out.put(&kilnv1.SnapshotRecord{Record: &kilnv1.SnapshotRecord_End{End: &kilnv1.SnapshotEnd{Records: out.records, Crc: out.crc}}})
	if out.err != nil {
		return fmt.Errorf("write a snapshot: %w", out.err)
	}
	return out.w.Flush()
}

type recordWriter struct {
	w       *bufio.Writer
	records uint64
	crc     uint32
	err     error
}

func (w *recordWriter) put(r *kilnv1.SnapshotRecord) {
	if w.err != nil {
		return
	}
	var data []byte
	if data, w.err = (proto.MarshalOptions{Deterministic: true}).Marshal(r); w.err != nil {
		return
	}
	w.records++
	w.crc = sum(w.crc, data)
	var n [binary.MaxVarintLen64]byte
	if _, w.err = w.w.Write(n[:binary.PutUvarint(n[:], uint64(len(data)))]); w.err == nil {
		_, w.err = w.w.Write(data)
	}
}

// sum continues a CRC-32C.
func sum(crc uint32, data []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), data)
}

// Restore reads what Write wrote. ErrSnapshot when it is not that, whole.
func Restore(r io.Reader) (*Machine, error) {
	m := New()
	in := bufio.NewReader(r)
	var records uint64
	var crc uint32
	for {
		record := &kilnv1.SnapshotRecord{}
		if err := (protodelim.UnmarshalOptions{MaxSize: maxRecord}).UnmarshalFrom(in, record); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrSnapshot, records, err)
		}
		if end := record.GetEnd(); end != nil {
			if end.Records != records || end.Crc != crc {
				return nil, fmt.Errorf("%w: its checksum is wrong", ErrSnapshot)
			}
			m.reserve()
			return m, m.link()
		}
		if (record.GetHeader() != nil) != (records == 0) {
			return nil, fmt.Errorf("%w: record %d is out of place", ErrSnapshot, records)
		}
		if err := m.restore(record); err != nil {
			return nil, err
		}
		data, err := (proto.MarshalOptions{Deterministic: true}).Marshal(record)
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrSnapshot, records, err)
		}
		records++
		crc = sum(crc, data)
	}
}

func (m *Machine) restore(record *kilnv1.SnapshotRecord) error {
	switch r := record.GetRecord().(type) {
	case *kilnv1.SnapshotRecord_Header:
		if r.Header.Format != snapshotFormat {
			return fmt.Errorf("%w: its format is %d, this program reads %d", ErrSnapshot, r.Header.Format, snapshotFormat)
		}
		if r.Header.Level > Level() {
			return fmt.Errorf("%w: %w: it is of a farm of feature level %d, this program applies %d", ErrSnapshot, ErrNewer, r.Header.Level, Level())
		}
		m.now, m.epoch, m.leases, m.order = r.Header.Now, r.Header.Epoch, r.Header.Leases, r.Header.Order
		m.level, m.addresses.steady = max(r.Header.Level, firstLevel), r.Header.Steady
	case *kilnv1.SnapshotRecord_Build:
		return m.restoreBuild(r.Build)
	case *kilnv1.SnapshotRecord_Task:
		m.tasks[r.Task.Key] = decodeTask(r.Task)
	case *kilnv1.SnapshotRecord_Seen:
		m.seen = append(m.seen, seen{r.Seen.Build, r.Seen.At})
	case *kilnv1.SnapshotRecord_Member:
		m.members[r.Member.GetId()] = r.Member
	case *kilnv1.SnapshotRecord_Barred:
		m.barred = append(m.barred, r.Barred)
	case *kilnv1.SnapshotRecord_Team:
		m.teams[r.Team.GetName()] = r.Team
	case *kilnv1.SnapshotRecord_Published:
		m.published[recordKey(r.Published)] = r.Published
	case *kilnv1.SnapshotRecord_Hold:
		m.holds[r.Hold.GetBuilder()] = r.Hold
	default:
		if m.room.restore(record) || m.addresses.restore(record) {
			return nil
		}
		return fmt.Errorf("%w: a record of an unknown kind", ErrSnapshot)
	}
	return nil
}

// link checks that builds and tasks fit together.
func (m *Machine) link() error {
	for _, t := range m.tasks {
		if len(t.Waiters) == 0 {
			return fmt.Errorf("%w: nobody waits for task %s", ErrSnapshot, t.Key)
		}
		for _, w := range t.Waiters {
			if b := m.builds[w.Build]; b == nil || w.Node < 0 || w.Node >= len(b.Nodes) {
				return fmt.Errorf("%w: task %s has a waiter that is not there", ErrSnapshot, t.Key)
			}
		}
	}
	for id, b := range m.builds {
		for _, n := range b.Nodes {
			if !b.Ended() && n.State != Waiting && m.tasks[n.Key] == nil {
				return fmt.Errorf("%w: build %s needs a task that is not there", ErrSnapshot, id)
			}
		}
	}
	return nil
}
