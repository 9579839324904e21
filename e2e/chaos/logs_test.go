package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// replica is what one coordinator that has ended left on its disk.
type replica struct {
	name     string
	start    uint64 // index of the snapshot that its log goes on from; 0: the log is whole
	snapshot *state.Machine
	logs     []raft.Log // from start+1
}

func (r *replica) last() uint64 { return r.start + uint64(len(r.logs)) }

// at is the entry of an index; nil when the replica does not have it.
func (r *replica) at(index uint64) *raft.Log {
	if index <= r.start || index > r.last() {
		return nil
	}
	return &r.logs[index-r.start-1]
}

// readReplica reads the log and the newest snapshot in a coordinator's data directory.
func readReplica(name, dataDir string) (r *replica, err error) {
	r = &replica{name: name, snapshot: state.New()}
	dir := filepath.Join(dataDir, "raft")
	store, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	if err != nil {
		return nil, err
	}
	metas, err := store.List()
	if err != nil {
		return nil, err
	}
	meta := &metadb.BoltMetaDB{}
	wal, err := raftwal.Open(filepath.Join(dir, "wal"), raftwal.WithMetaStore(meta))
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, wal.Close(), meta.Close()) }()
	first, err := wal.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := wal.LastIndex()
	if err != nil {
		return nil, err
	}
	if first > 1 || first == 0 && len(metas) > 0 {
		if len(metas) == 0 {
			return nil, fmt.Errorf("the log of %s begins at %d, and there is no snapshot", name, first)
		}
		_, source, err := store.Open(metas[0].ID)
		if err != nil {
			return nil, err
		}
		defer source.Close()
		if r.snapshot, err = state.Restore(source); err != nil {
			return nil, err
		}
		r.start = metas[0].Index
	}
	for i := max(r.start+1, first); i <= last && i > 0; i++ {
		var log raft.Log
		if err := wal.GetLog(i, &log); err != nil {
			return nil, fmt.Errorf("entry %d of %s: %w", i, name, err)
		}
		r.logs = append(r.logs, log)
	}
	return r, nil
}

// committed is the last index that a majority has with the same term.
func committed(replicas []*replica) uint64 {
	var lasts []uint64
	for _, r := range replicas {
		lasts = append(lasts, r.last())
	}
	slices.Sort(lasts)
	return lasts[(len(lasts)-1)/2]
}

// compare says where two logs differ that must not: up to the committed index.
func compare(replicas []*replica, commit uint64) (faults []string, compared int) {
	whole := slices.MinFunc(replicas, func(a, b *replica) int { return int(a.start) - int(b.start) })
	for _, r := range replicas {
		if r == whole {
			continue
		}
		for i := max(r.start, whole.start) + 1; i <= min(commit, r.last(), whole.last()); i++ {
			a, b := whole.at(i), r.at(i)
			if a.Term != b.Term || a.Type != b.Type || string(a.Data) != string(b.Data) {
				faults = append(faults, fmt.Sprintf("entry %d is not the same at %s (term %d) and %s (term %d)", i, whole.name, a.Term, r.name, b.Term))
				break
			}
			compared++
		}
	}
	return faults, compared
}

// replay applies the committed part of the longest log, and checks the leases in it.
func replay(replicas []*replica, commit uint64) (*ledger, error) {
	r := slices.MinFunc(replicas, func(a, b *replica) int { return int(a.start) - int(b.start) })
	if commit > r.last() {
		for _, other := range replicas {
			if other.last() >= commit && other.start < r.last() {
				r = other
			}
		}
	}
	l := newLedger(r.snapshot)
	for i := range r.logs {
		if r.logs[i].Index > commit {
			break
		}
		if r.logs[i].Type != raft.LogCommand {
			continue
		}
		entry, err := decodeEntry(r.logs[i].Data)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", r.logs[i].Index, err)
		}
		l.apply(entry)
	}
	return l, nil
}

// tell writes the entries of a replica's log as lines of JSON, for whoever looks for the reason of something.
func (r *replica) tell(w io.Writer) error {
	for i := range r.logs {
		log := &r.logs[i]
		if log.Type != raft.LogCommand {
			continue
		}
		entry, err := decodeEntry(log.Data)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%d term %d %s %s\n", log.Index, log.Term, log.AppendedAt.Format("15:04:05.000"), oneLine(entry)); err != nil {
			return err
		}
	}
	return nil
}

// replicas reads what all coordinators left; one that lost its disk last has nothing.
func replicas(dirs map[string]string) (all []*replica, err error) {
	for name, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "raft", "wal")); err != nil {
			continue
		}
		r, err := readReplica(name, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *replica) int { return int(a.last()) - int(b.last()) })
	return all, nil
}

func oneLine(entry *kilnv1.Entry) string {
	text, err := protojson.Marshal(entry)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
