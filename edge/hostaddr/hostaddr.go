package hostaddr

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"
)

const (
	// Lifetime is how long an address stays when nobody renews it.
	Lifetime = 60 * time.Second
	renewal  = Lifetime / 4
)

// ErrUnsupported: this kind of host is not known here.
var ErrUnsupported = errors.New("addresses are given on Linux only")

// Holder has addresses on interfaces.
type Holder struct {
	Interfaces []string
	Addresses  []netip.Addr // of IPv4; each is given alone, without a network
	Log        *slog.Logger
}

// Take gives all addresses, or none. Hold must be called then.
func (h *Holder) Take() error {
	for _, name := range h.Interfaces {
		for _, a := range h.Addresses {
			if err := give(name, a); err != nil {
				h.drop()
				return err
			}
		}
	}
	return nil
}

// Hold keeps the addresses, also on an interface that went away and came again, until ctx ends, and then takes them away.
func (h *Holder) Hold(ctx context.Context) {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	defer h.drop()
	failing := map[string]bool{}
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, name := range h.Interfaces {
			for _, a := range h.Addresses {
				err := give(name, a)
				if err != nil && !failing[name] {
					h.Log.Warn("an address of this host is not kept for now", "interface", name, "address", a, "error", err)
				}
				failing[name] = err != nil
			}
		}
	}
}

// drop takes away what was given.
func (h *Holder) drop() {
	for _, name := range h.Interfaces {
		for _, a := range h.Addresses {
			if err := take(name, a); err != nil {
				h.Log.Debug("an address of this host was not taken away, and ends by itself", "interface", name, "address", a, "error", err)
			}
		}
	}
}
