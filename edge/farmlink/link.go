package farmlink

import (
	"context"
	"errors"
	"log/slog"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// Conn is a connection to the farm's coordinators.
type Conn struct {
	Room  kilnv1connect.RoomServiceClient
	Close func() // ends connections that are not used now
}

// Config says which edge it is, and how the farm is reached.
type Config struct {
	Edge         string          // its name
	URL, URL6    string          // under which machines reach it
	Bindings     string          // file that keeps bindings
	Coordinators func() []string // URLs at which the farm may be
	// Dial makes a client of the coordinators at these URLs, the first of which is to be asked first. It does not connect yet.
	Dial func(urls []string) (*Conn, error)
	Log  *slog.Logger
}

// Link is an edge's side of a farm.
type Link struct {
	cfg   Config
	calls calls
	pool  *Pool
}

// New makes a link, which connects when it is used.
func New(cfg Config) *Link {
	l := &Link{cfg: cfg, pool: newPool(cfg)}
	l.calls.dial = func() (*Conn, error) { return cfg.Dial(cfg.Coordinators()) }
	return l
}

// Close ends connections. Calls that are under way end as they would.
func (l *Link) Close() error { return errors.Join(l.calls.close(), l.pool.calls.close()) }

// Pool is what binds addresses.
func (l *Link) Pool() *Pool { return l.pool }

// Report tells what machines do.
func (l *Link) Report(ctx context.Context, events []*kilnv1.BootEvent) error {
	return l.calls.do(func(client *Conn) error {
		_, err := client.Room.Report(ctx, connect.NewRequest(&kilnv1.ReportRequest{Edge: l.cfg.Edge, Events: events}))
		return err
	})
}
