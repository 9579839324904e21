package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/kiln-farm/kiln/builder"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// workerConfig is what a builder process of the bench is told.
type workerConfig struct {
	ID, Credentials, Cache string
	Buses                  []string
	Slots                  int
	Wait                   time.Duration
}

// worker is a running one.
type worker struct{ cmd *exec.Cmd }

// startWorker starts this program again as a builder of the real package, whose steps wait and give what is there.
func startWorker(f *farmBench, id string, slots int, wait time.Duration) (*worker, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := f.HTTP()
	if err != nil {
		return nil, err
	}
	lead, err := f.Leader(ctx)
	if err != nil {
		return nil, err
	}
	topology, err := kilnv1connect.NewAdminServiceClient(client, "https://"+lead.Address()).Topology(ctx, connect.NewRequest(&kilnv1.TopologyRequest{}))
	if err != nil {
		return nil, err
	}
	conf := workerConfig{ID: id, Cache: filepath.Join(f.dir, "cache"), Buses: topology.Msg.GetBuses(), Slots: slots, Wait: wait}
	if conf.Credentials, err = f.enroll(id); err != nil {
		return nil, err
	}
	text, err := json.Marshal(conf)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{exec.Command(self, "-worker", string(text))}
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ready, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		w.close()
		return nil, fmt.Errorf("a builder of the bench did not start: %w", err)
	}
	return w, nil
}

func (w *worker) close() {
	_ = w.cmd.Process.Signal(os.Interrupt)
	ended := time.AfterFunc(5*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer ended.Stop()
	_ = w.cmd.Wait() // interrupted
}

// enroll makes credentials for a builder with the key that the first coordinator holds.
func (f *farmBench) enroll(id string) (string, error) {
	authority, err := pki.LoadAuthority(filepath.Join(f.Coordinators()[0].Data, "pki"))
	if err != nil {
		return "", err
	}
	key, csr, err := pki.NewRequest(id)
	if err != nil {
		return "", err
	}
	der, err := authority.Sign(csr, pki.Identity{Farm: authority.Farm(), Role: pki.RoleBuilder, Name: id}, nil, time.Now())
	if err != nil {
		return "", err
	}
	creds, err := pki.NewCredentials(authority.Certificate(), der, key)
	if err != nil {
		return "", err
	}
	path := filepath.Join(f.dir, id+".pem")
	return path, creds.Save(path)
}

// runWorker is a builder process.
func runWorker(text string) error {
	runtime.LockOSThread() // Pdeathsig counts the thread that started us; ours is the main one
	var conf workerConfig
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	creds, err := pki.LoadCredentials(ctx, conf.Credentials)
	if err != nil {
		return err
	}
	store, err := disk.Open(conf.Cache)
	if err != nil {
		return err
	}
	conn, err := bus.Dial(bus.DialOptions{URLs: conf.Buses, Name: conf.ID, TLS: creds.ClientTLS(), Inbox: bus.Inbox(conf.ID)})
	if err != nil {
		return err
	}
	defer conn.Close()
	blob := cache.SumBytes([]byte("made by the bench"))
	if err := putOnce(ctx, store, "made by the bench"); err != nil {
		return err
	}
	runners := map[string]step.Runner{}
	for kind := range step.Versions {
		runners[kind] = waiting{conf.Wait, blob}
	}
	b, err := builder.New(builder.Config{
		Farm: creds.Identity().Farm, ID: conf.ID, Store: store, Blobs: store, Bus: conn, Slots: conf.Slots, Runners: runners,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	fmt.Print("r")
	return b.Run(ctx)
}

func putOnce(ctx context.Context, store *disk.Store, text string) error {
	draft, err := store.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := draft.Write([]byte(text)); err != nil {
		return err
	}
	_, _, err = draft.Commit()
	return err
}

// waiting is a step that waits: a plan's graph is the blob that the build's name says, everything else is one blob.
type waiting struct {
	wait time.Duration
	blob cache.Digest
}

// Run implements step.Runner.
func (w waiting) Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	d := w.blob
	switch req.Kind {
	case step.Plan:
		var err error
		if d, err = cache.ParseDigest(req.Build.GetName()); err != nil {
			return nil, step.Failf("the bench's build has no graph: %w", err)
		}
	case step.Resolve:
	default:
		select {
		case <-time.After(w.wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &step.Response{Outputs: []step.Output{{Name: outputName(req.Kind), Digest: d, Size: 1}}}, nil
}
