package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/nats-io/nats.go"
)

// Config of a coordinator.
type Config struct {
	Farm    string       // name of the farm; "kiln" when empty
	NodeID  string       // of this coordinator, stable over restarts; "1" when empty
	Store   cache.Store  // for records
	Blobs   cache.Blobs  // for blobs
	Bus     *nats.Conn   // stays the caller's to close, after Close
	DataDir string       // of the raft log; empty: everything is in memory
	Log     *slog.Logger // slog.Default when nil
}

// Coordinator is one of a farm's coordinators.
type Coordinator struct {
	cfg Config
}

// New starts a coordinator.
func New(cfg Config) (*Coordinator, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	return &Coordinator{cfg: cfg}, nil
}

// Handler is the API: Connect RPC, /v1/blobs/ and /healthz.
func (c *Coordinator) Handler() http.Handler { return http.NotFoundHandler() }

// Ready waits until there is a leader that takes work.
func (c *Coordinator) Ready(ctx context.Context) error { return ctx.Err() }

// Close ends the coordinator and waits until it has ended. What was committed is kept.
func (c *Coordinator) Close() error { return nil }

func (c *Config) fill() error {
	if c.Store == nil || c.Blobs == nil || c.Bus == nil {
		return errors.New("a coordinator needs a store, blobs and a bus")
	}
	if c.Farm == "" {
		c.Farm = "kiln"
	}
	if c.NodeID == "" {
		c.NodeID = "1"
	}
	if strings.ContainsAny(c.NodeID, "/ \t\n") {
		return fmt.Errorf("node id %q: blanks and slashes are not allowed", c.NodeID)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}
