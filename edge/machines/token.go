package machines

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/fleet"
)

// Token makes the token of a new boot. It is good for secrets only when this edge saw the address being given to the machine:
// anybody may say a MAC.
func (m *Machines) Token(source netip.Addr, boot *fleet.Boot) (token, id string, err error) {
	key, err := config.ParseKey(m.Intents.Key())
	if err != nil {
		return "", "", err
	}
	t := config.Token{Machine: boot.Key(), Expires: time.Now().Add(intent.BootTime)}
	t.Public = !config.Seen(m.Seen.Given, source, boot.MACs())
	if _, err := rand.Read(t.Boot[:]); err != nil {
		return "", "", err
	}
	return config.Sign(key, t), t.Boot.String(), nil
}

// Whose is the machine of a token.
func (m *Machines) Whose(text string) (*fleet.Boot, config.Token, error) {
	key, err := config.ParseKey(m.Intents.Key())
	if err != nil {
		return nil, config.Token{}, err
	}
	t, err := config.Verify(key, text, time.Now())
	if err != nil {
		return nil, t, err
	}
	boot, err := m.Intents.Index().Named(t.Machine)
	if errors.Is(err, fleet.ErrNoRelease) {
		err = nil
	}
	return boot, t, err
}

// KnownAddress is what this edge knows to be the machine's address, when it asks from there.
func (m *Machines) KnownAddress(boot *fleet.Boot, source netip.Addr) netip.Prefix {
	b, ok := m.Seen.Bound(source.Unmap())
	if !ok || !b.Address.Addr().Is4() || !slices.Contains(boot.MACs(), b.MAC) {
		return netip.Prefix{}
	}
	return b.Address
}
