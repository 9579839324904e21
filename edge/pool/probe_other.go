//go:build !linux

package pool

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// DefaultProbe is how long an answer is waited for.
const DefaultProbe = 200 * time.Millisecond

// NetProber is for Linux only.
type NetProber struct{}

// OpenProber fails.
func OpenProber(time.Duration) (*NetProber, error) {
	return nil, errors.New("addresses can be asked after on Linux only")
}

// Used implements Prober.
func (p *NetProber) Used(context.Context, netip.Addr, string, bool) bool { return false }

// Close does nothing.
func (p *NetProber) Close() error { return nil }
