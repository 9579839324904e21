package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/bus"
)

// busRetry is how long a bus that does not answer is left alone.
const busRetry = 2 * time.Second

// BusFlags name a bus that is not the coordinators' own.
type BusFlags struct{ urls, credentials string }

func (f *BusFlags) Add(flags *pflag.FlagSet, usage string) {
	flags.StringVar(&f.urls, "nats", "", usage)
	flags.StringVar(&f.credentials, "nats-creds", "", "credentials file for that NATS")
}

func (f *BusFlags) List() []string {
	if f.urls == "" {
		return nil
	}
	return strings.Split(f.urls, ",")
}

// Dial connects, to a NATS of your own when the flags name one. A bus that does not answer is waited for: after a power
// cut everything starts at once.
func (f *BusFlags) Dial(ctx context.Context, opts bus.DialOptions, log *slog.Logger) (*nats.Conn, error) {
	if own := f.List(); own != nil {
		opts.URLs, opts.TLS, opts.CredentialsFile = own, nil, f.credentials
	}
	for {
		conn, err := bus.Dial(opts)
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, bus.ErrUnreachable) {
			return nil, ui.Usagef("%w", err)
		}
		log.Warn("the bus does not answer; trying again", "error", err)
		select {
		case <-time.After(busRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}
