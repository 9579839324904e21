package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	backupChunk    = 256 << 10 // bytes of a snapshot in one message
	restoreTimeout = time.Minute
)

// Backup streams the state as it is now.
func (a *admin) Backup(_ context.Context, _ *connect.Request[kilnv1.BackupRequest], stream *connect.ServerStream[kilnv1.BackupResponse]) error {
	l, err := a.leader()
	if err != nil {
		return err
	}
	if err := l.node.Barrier(replica.ApplyTimeout).Error(); err != nil {
		return unavailable(fmt.Errorf("%w: %w", replica.ErrNotLeading, err))
	}
	snapshot := a.c.fsm.Freeze()
	if err := snapshot.Write(&chunks{stream}); err != nil {
		return connect.NewError(connect.CodeAborted, err)
	}
	return nil
}

// chunks sends what is written to it.
type chunks struct {
	stream *connect.ServerStream[kilnv1.BackupResponse]
}

func (c *chunks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), backupChunk)
		if err := c.stream.Send(&kilnv1.BackupResponse{Data: rest[:n]}); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// Restore replaces the state by that of a backup. The members stay those of now, and leases are numbered anew: a
// builder that still works on one from before finds it gone.
func (a *admin) Restore(_ context.Context, stream *connect.ClientStream[kilnv1.RestoreRequest]) (*connect.Response[kilnv1.RestoreResponse], error) {
	l, err := a.leader()
	if err != nil {
		return nil, err
	}
	if l.cfg.DataDir == "" {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("this farm keeps its state in memory only: there is nothing to restore it into"))
	}
	back, err := state.Restore(&received{stream: stream})
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the backup cannot be used: %w", err))
	}
	var epoch uint64
	l.View(func(m *state.Machine) {
		epoch = max(m.Epoch(), back.Epoch(), uint64(l.cfg.Now().UnixMilli())) + 1
		back.Renew(epoch, m)
	})
	file, size, err := spill(l.cfg.DataDir, back)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	defer file.Close()
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: l.node.LastIndex(), Size: size}
	if err := l.node.Restore(meta, file, restoreTimeout); err != nil {
		return nil, unavailable(fmt.Errorf("put the backup in place: %w", err))
	}
	l.log.Warn("the state was replaced by a backup's", "builds", len(back.Builds()), "epoch", epoch)
	// What this leader knows beside the state is of the one before.
	if err := a.c.leadAnew(); err != nil {
		return nil, unavailable(err)
	}
	return connect.NewResponse(&kilnv1.RestoreResponse{Builds: uint32(len(back.Builds())), Epoch: epoch}), nil
}

// leadAnew lays leadership's duties down and takes them up again.
func (c *Coordinator) leadAnew() error {
	answer := make(chan error, 1)
	select {
	case c.again <- answer:
		return <-answer
	case <-c.done:
		return replica.ErrNotLeading
	}
}

// anew is leadAnew for a leader of which something was not committed although raft still leads: what it knows beside
// the state may not fit the state any more.
func (c *Coordinator) anew() {
	go func() {
		if err := c.leadAnew(); err != nil {
			c.cfg.Log.Info("leadership was not taken up anew", "node", c.cfg.NodeID, "error", err)
		}
	}()
}

// spill writes a snapshot of the state to a file that has no name, and goes to its begin.
func spill(dir string, m *state.Machine) (*os.File, int64, error) {
	file, err := os.CreateTemp(dir, "restore-")
	if err != nil {
		return nil, 0, fmt.Errorf("make room for the backup in %s: %w", dir, err)
	}
	err = os.Remove(file.Name())
	var size int64
	if err == nil {
		err = m.Snapshot().Write(file)
	}
	if err == nil {
		size, err = file.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("write the backup to %s: %w", dir, err), file.Close())
	}
	return file, size, nil
}

// received reads what a client streams.
type received struct {
	stream *connect.ClientStream[kilnv1.RestoreRequest]
	rest   bytes.Reader
}

func (r *received) Read(p []byte) (int, error) {
	for r.rest.Len() == 0 {
		if !r.stream.Receive() {
			if err := r.stream.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		r.rest.Reset(r.stream.Msg().GetData())
	}
	return r.rest.Read(p)
}

// Recover makes the coordinator whose data are in dataDir the only one of its farm, with all that it knows: when a
// majority is lost for good. It must not run.
func Recover(cfg Config) error {
	if err := cfg.fill(); err != nil && cfg.Cluster == nil {
		return err
	}
	return replica.Recover(cfg.replica())
}
