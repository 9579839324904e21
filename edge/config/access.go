package config

import (
	"net/netip"
	"slices"
)

// Access is what whoever asks may have of a machine's configuration.
type Access int

// The three kinds of access.
const (
	None Access = iota
	Public
	Secrets
)

func (a Access) String() string {
	return []string{"none", "public", "secrets"}[min(max(a, 0), Secrets)]
}

// Facts are what is known of a request when its access is decided. None of them comes from a header.
type Facts struct {
	Token       bool // a token that Verify took, and that names the machine
	PublicToken bool // the token was given to someone who only said to be the machine
	Confirmed   bool // an operator said that what answers under the machine's MAC is the machine
	SecretsRead bool // in this boot already

	Source netip.Addr // the other end of the connection
	MACs   []string   // the machine's

	// What this edge, as the DHCP server of its own segment or beside one, saw Source being bound to. The zero values say
	// that it saw nothing: the address may be any router's.
	Bound    netip.Addr
	BoundMAC string
	Window   bool // the machine boots: its DHCP exchange was a short while ago
}

// Allow decides what a request may have.
//
// A token gives what is public, and secrets when the machine is confirmed and has not read them in this boot, unless it is a
// public one. When the edge sees that the token comes from an address that is bound to another machine, it gives no secrets: someone passed it on.
//
// Without a token, the source address must be bound to one of the machine's MACs on the edge's own segment and the machine
// must be booting; then it gives what is public, and never secrets: anyone on the segment can take an address.
func Allow(f Facts) Access {
	source := f.Source.Unmap()
	bound := f.Bound.IsValid() && f.Bound.Unmap() == source
	own := bound && f.BoundMAC != "" && slices.Contains(f.MACs, f.BoundMAC)
	switch {
	case f.Token && !f.PublicToken && f.Confirmed && !f.SecretsRead && (own || !bound):
		return Secrets
	case f.Token:
		return Public
	case own && f.Window && (source.Is4() || source.IsGlobalUnicast()) && !source.IsLoopback():
		return Public
	}
	return None
}
