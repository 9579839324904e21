package replica

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

	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/internal/seldom"
)

const (
	keptSnapshots = 2
	// A farm in one process has nobody to hear from: it elects itself as soon as raft allows.
	aloneTimeout = 5 * time.Millisecond
	// Snapshots are taken seldom and logs kept long, since entries are small and a restart replays them quickly.
	durableThreshold = 100_000
	memoryThreshold  = 8192
	memoryTrailing   = 256
	logCache         = 512 // entries
)

// Node is this coordinator's part in raft.
type Node struct {
	*raft.Raft
	Leads   chan bool   // raft says here when leadership comes and goes
	Streams *streams    // of a cluster
	closer  []io.Closer // what to close after raft, in order
}

// LeaderWithID hides raft's own, which goes on naming a leader that is gone: a candidate by a transfer of leadership notes the
// sender of an entry that comes late, and stays a candidate.
func (n *Node) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	if n.State() == raft.Candidate {
		return "", ""
	}
	return n.Raft.LeaderWithID()
}

// stores are where raft keeps things.
type stores struct {
	logs      raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	closer    []io.Closer
}

// Options say what a node needs.
type Options struct {
	NodeID  string
	DataDir string // empty: in memory
	Log     *slog.Logger
	Peers   *Peers // nil: a farm of one
}

// Peers say how the nodes of a cluster reach each other.
type Peers struct {
	Advertise       string // host:port of this node, as the others reach it
	Credentials     *pki.Credentials
	ElectionTimeout time.Duration
	Joins           bool // a cluster that is there, and so begins none of its own
}

// Open starts raft: in memory when there is no directory, and for a farm of one when there are no peers.
func Open(cfg Options, machine raft.FSM) (*Node, error) {
	n := &Node{Leads: make(chan bool, 16)}
	conf := raftConfig(cfg)
	conf.NotifyCh = n.Leads
	st, err := openStores(cfg.DataDir, conf)
	if err != nil {
		return nil, err
	}
	address, transport := n.transport(cfg, conf)
	n.closer = append([]io.Closer{transport}, st.closer...)
	known, err := raft.HasExistingState(st.logs, st.stable, st.snapshots)
	if err == nil && !known && (cfg.Peers == nil || !cfg.Peers.Joins) {
		err = raft.BootstrapCluster(conf, st.logs, st.stable, st.snapshots, transport, raft.Configuration{
			Servers: []raft.Server{{ID: conf.LocalID, Address: address}},
		})
	}
	if err == nil {
		n.Raft, err = raft.NewRaft(conf, machine, st.logs, st.stable, st.snapshots, transport)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start raft: %w", err), n.closeAll())
	}
	return n, nil
}

func raftConfig(cfg Options) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(cfg.NodeID)
	conf.Logger = raftLogger(cfg.Log)
	conf.MaxAppendEntries = 64
	conf.NoLegacyTelemetry = true
	if cfg.Peers == nil {
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = aloneTimeout, aloneTimeout, aloneTimeout
	} else {
		patience := cfg.Peers.ElectionTimeout
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = patience, patience, patience*3/4
		conf.ShutdownOnRemove = false // one that was removed may announce itself again
	}
	if cfg.DataDir == "" {
		conf.SnapshotThreshold, conf.TrailingLogs = memoryThreshold, memoryTrailing
	} else {
		conf.SnapshotThreshold, conf.TrailingLogs = durableThreshold, durableThreshold
	}
	return conf
}

func (n *Node) transport(cfg Options, conf *raft.Config) (raft.ServerAddress, interface {
	raft.Transport
	io.Closer
}) {
	if cfg.Peers == nil {
		address, transport := raft.NewInmemTransport(raft.ServerAddress(cfg.NodeID))
		return address, transport
	}
	n.Streams = newStreams(cfg.Peers)
	return raft.ServerAddress(cfg.Peers.Advertise), raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.Streams, MaxPool: peerConns, Timeout: PeerTimeout, Logger: conf.Logger,
		// No pipelining: in raft v1.8.0 a follower that refuses an entry ends the reader of a pipeline's answers, and the
		// writer may then wait for ever (netPipeline.AppendEntries). Such a leader replicates to it no more, and does not end.
		// Batches of entries make it no slower (docs/bench.md).
		MaxRPCsInFlight: 1,
	})
}

// openStores opens the log and the snapshots in a data directory, or in memory when there is none.
func openStores(dataDir string, conf *raft.Config) (*stores, error) {
	if dataDir == "" {
		memory := raft.NewInmemStore()
		return &stores{logs: memory, stable: memory, snapshots: raft.NewDiscardSnapshotStore()}, nil
	}
	dir := filepath.Join(dataDir, "raft")
	wal := filepath.Join(dir, "wal")
	if err := os.MkdirAll(wal, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: %w", dataDir, err)
	}
	lock, err := lockDir(dir) // the log waits for ever for a file that another process has open
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dataDir, err)
	}
	meta := &metadb.BoltMetaDB{}
	log, err := raftwal.Open(wal, raftwal.WithMetaStore(meta))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the log in %s: %w", wal, err), meta.Close(), lock.Close())
	}
	st := &stores{stable: log, closer: []io.Closer{log, meta, lock}} // closing the log leaves its meta file open (v0.4.0)
	if st.logs, err = raft.NewLogCache(logCache, log); err == nil {  // followers are sent what was just written
		st.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, conf.Logger)
	}
	if err != nil {
		err = fmt.Errorf("open the snapshots in %s: %w", dir, err)
		for _, c := range st.closer {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	return st, nil
}

// Recover makes the node whose data are in the data directory the only one of its cluster, with all that it knows: when a
// majority is lost for good. It must not run.
func Recover(cfg Options) error {
	conf := raftConfig(cfg)
	st, err := openStores(cfg.DataDir, conf)
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range st.closer {
			_ = c.Close() // all is written
		}
	}()
	known, err := raft.HasExistingState(st.logs, st.stable, st.snapshots)
	if err == nil && !known {
		err = errors.New("there is no state of a coordinator")
	}
	if err == nil {
		address, transport := raft.NewInmemTransport(raft.ServerAddress(cfg.Peers.Advertise))
		err = raft.RecoverCluster(conf, NewFSM(), st.logs, st.stable, st.snapshots, transport, raft.Configuration{
			Servers: []raft.Server{{ID: conf.LocalID, Address: address}},
		})
	}
	if err != nil {
		return fmt.Errorf("recover the coordinator in %s: %w", cfg.DataDir, err)
	}
	return nil
}

// Servers is raft's configuration as this coordinator knows it.
func (n *Node) Servers() []raft.Server {
	future := n.GetConfiguration()
	if future.Error() != nil {
		return nil // raft is shut down
	}
	return future.Configuration().Servers
}

// Close ends raft and closes its files.
func (n *Node) Close() error {
	err := n.Shutdown().Error()
	return errors.Join(err, n.closeAll())
}

func (n *Node) closeAll() error {
	var all error
	for _, c := range n.closer {
		all = errors.Join(all, c.Close())
	}
	return all
}

// raftLogger passes raft's warnings and errors on; the rest is noise for everyone but raft's authors.
func raftLogger(log *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Error, DisableTime: true, Output: &logWriter{log: log, sayings: seldom.New(seldom.Every, nil)},
	})
}

// logWriter says the same only once in a while: raft complains of a peer that is away several times a second.
type logWriter struct {
	log     *slog.Logger
	sayings *seldom.Sayings
}

func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	kind, _, _ := strings.Cut(text, "backoff time=") // what follows differs from line to line
	if w.sayings.Due(kind) {
		w.log.Warn(text)
	} else {
		w.log.Debug(text)
	}
	return len(line), nil
}
