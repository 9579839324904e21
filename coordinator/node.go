package coordinator

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

const (
	keptSnapshots = 2
	// A farm in one process has nobody to hear from: it elects itself as soon as raft allows.
	aloneTimeout = 5 * time.Millisecond
	// Snapshots are taken seldom and logs kept long, since entries are small and a restart replays them quickly.
	durableThreshold = 100_000
	memoryThreshold  = 8192
	memoryTrailing   = 256
)

// node is this coordinator's part in raft.
type node struct {
	*raft.Raft
	leads  chan bool   // raft says here when leadership comes and goes
	closer []io.Closer // what to close after raft, in order
}

// openNode starts raft for a farm of one coordinator, in memory when there is no directory.
func openNode(cfg *Config, machine raft.FSM) (*node, error) {
	n := &node{leads: make(chan bool, 16)}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(cfg.NodeID)
	conf.Logger = raftLogger(cfg.Log)
	conf.NotifyCh = n.leads
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = aloneTimeout, aloneTimeout, aloneTimeout
	conf.MaxAppendEntries = 64
	conf.NoLegacyTelemetry = true
	address, transport := raft.NewInmemTransport(raft.ServerAddress(cfg.NodeID))
	n.closer = append(n.closer, transport)

	var logs raft.LogStore
	var stable raft.StableStore
	var snapshots raft.SnapshotStore
	if cfg.DataDir == "" {
		memory := raft.NewInmemStore()
		logs, stable, snapshots = memory, memory, raft.NewDiscardSnapshotStore()
		conf.SnapshotThreshold, conf.TrailingLogs = memoryThreshold, memoryTrailing
	} else {
		dir := filepath.Join(cfg.DataDir, "raft")
		wal := filepath.Join(dir, "wal")
		if err := os.MkdirAll(wal, 0o700); err != nil {
			return nil, fmt.Errorf("data directory %s cannot be made: %w", cfg.DataDir, err)
		}
		lock, err := lockDir(dir) // the log waits for ever for a file that another process has open
		if err != nil {
			return nil, fmt.Errorf("data directory %s: %w", cfg.DataDir, err)
		}
		meta := &metadb.BoltMetaDB{}
		store, err := raftwal.Open(wal, raftwal.WithMetaStore(meta))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the log in %s: %w", wal, err), meta.Close(), lock.Close())
		}
		n.closer = append(n.closer, store, meta, lock) // closing the log leaves its meta file open (v0.4.0)
		logs, stable = store, store
		if snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, conf.Logger); err != nil {
			return nil, errors.Join(fmt.Errorf("open the snapshots in %s: %w", dir, err), n.closeAll())
		}
		conf.SnapshotThreshold, conf.TrailingLogs = durableThreshold, durableThreshold
	}
	known, err := raft.HasExistingState(logs, stable, snapshots)
	if err == nil && !known {
		err = raft.BootstrapCluster(conf, logs, stable, snapshots, transport, raft.Configuration{
			Servers: []raft.Server{{ID: conf.LocalID, Address: address}},
		})
	}
	if err == nil {
		n.Raft, err = raft.NewRaft(conf, machine, logs, stable, snapshots, transport)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start raft: %w", err), n.closeAll())
	}
	return n, nil
}

// Close ends raft and closes its files.
func (n *node) Close() error {
	err := n.Shutdown().Error()
	return errors.Join(err, n.closeAll())
}

func (n *node) closeAll() error {
	var all error
	for _, c := range n.closer {
		all = errors.Join(all, c.Close())
	}
	return all
}

// raftLogger passes raft's warnings and errors on; the rest is noise for everyone but raft's authors.
func raftLogger(log *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Error, DisableTime: true, Output: logWriter{log},
	})
}

type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Warn(strings.TrimSpace(string(line)))
	return len(line), nil
}
