package config

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/fleet"
)

// Binding is an address that this edge saw, on its own segment, being bound to a MAC.
type Binding struct {
	MAC     string
	Address netip.Prefix
	Window  time.Time // until when the machine counts as booting
}

// Finder finds machines in an intent, for a Handler's Find.
type Finder struct {
	Index func() *fleet.Index
	// Keys are those that tokens may be made with: the intent's, and for a while the one before it. None: no token is valid.
	Keys func() []Key
	// Bound is what the edge knows of an address of its own segment. It says false for what came through a relay or a
	// router: those are not the edge's own to see. nil: nothing is known.
	Bound func(netip.Addr) (Binding, bool)
	// SecretsRead says whether all secrets of that boot are read; nil: Once decides alone.
	SecretsRead func(machine string, boot BootID) bool
	Now         func() time.Time
}

// Find is for Handler.Find.
func (f *Finder) Find(r *http.Request, token string) (*Found, error) {
	source, now := remote(r).Addr(), f.Now()
	facts := Facts{Source: source}
	var binding Binding
	if f.Bound != nil && source.IsValid() {
		if b, ok := f.Bound(source); ok {
			binding = b
			facts.Bound, facts.BoundMAC, facts.Window = b.Address.Addr(), b.MAC, now.Before(b.Window)
		}
	}
	found := &Found{By: ByAddress}
	var boot *fleet.Boot
	var err error
	switch {
	case token != "":
		var t Token
		if t, err = f.verify(token, now); err != nil {
			return nil, refuse(http.StatusForbidden, err.Error(), err)
		}
		facts.Token, facts.PublicToken, found.By, found.Boot = true, t.Public, ByToken, t.Boot
		boot, err = f.Index().Named(t.Machine)
	case facts.BoundMAC != "":
		boot, err = f.Index().Resolve(fleet.Identity{MAC: facts.BoundMAC})
	default:
		return nil, refuse(http.StatusForbidden, "this address is of no machine that is booting here; ask with the boot token, or boot again", nil)
	}
	if boot == nil {
		return nil, refuse(http.StatusNotFound, err.Error(), err)
	}
	if err != nil && !errors.Is(err, fleet.ErrNoRelease) { // without a release there is a configuration nevertheless
		return nil, err
	}
	found.Record = &Record{Boot: boot}
	facts.MACs, facts.Confirmed = boot.MACs(), boot.Machine.GetConfirmed()
	if f.SecretsRead != nil && facts.Token {
		facts.SecretsRead = f.SecretsRead(boot.Key(), found.Boot)
	}
	if slices.Contains(facts.MACs, binding.MAC) && binding.Address.Addr().Is4() { // the documents' address is one of IPv4
		found.Record.Address = binding.Address
	}
	found.Access = Allow(facts)
	return found, nil
}

// Seen says whether an edge saw source being bound to one of a machine's MACs: whether whoever asks from there for a token is
// more than someone who knows a MAC. Whoever makes a token for others makes it Public.
func Seen(bound func(netip.Addr) (Binding, bool), source netip.Addr, macs []string) bool {
	if bound == nil || !source.IsValid() {
		return false
	}
	b, ok := bound(source.Unmap())
	return ok && b.MAC != "" && slices.Contains(macs, b.MAC)
}

func (f *Finder) verify(token string, now time.Time) (Token, error) {
	err := ErrToken
	if f.Keys == nil {
		return Token{}, err
	}
	for _, key := range f.Keys() {
		var t Token
		if t, err = Verify(key, token, now); err == nil {
			return t, nil
		}
		if errors.Is(err, ErrExpired) {
			break
		}
	}
	return Token{}, err
}
