//go:build !linux

package probe

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Default is how long an answer is waited for.
const Default = 200 * time.Millisecond

// Net is for Linux only.
type Net struct{}

// Open fails.
func Open(time.Duration) (*Net, error) {
	return nil, errors.New("addresses can be asked after on Linux only")
}

// Used implements Prober.
func (p *Net) Used(context.Context, netip.Addr, string, bool) bool { return false }

// Close does nothing.
func (p *Net) Close() error { return nil }
