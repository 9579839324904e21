package dhcp6

import (
	"net/netip"
	"time"
)

// Mode is what part of the answer is ours.
type Mode int

// The modes of a Plan.
const (
	Silent    Mode = iota // say nothing
	Stateless             // options only, to clients that ask for no more than these
	Stateful              // give the address too
)

// Plan is what a client is to be told.
type Plan struct {
	Mode  Mode
	Boot  Boot
	Lease Lease // with Stateful; without an address there: the client is told that there is none for it
	// OnLink are the networks of the client's link. An address elsewhere is of no use to it. None: nobody knows.
	OnLink []netip.Prefix
	// Authoritative is set where no other server gives addresses to this client. Otherwise a client that asks everyone to
	// prolong an address is not answered if it is not ours.
	Authoritative bool
	// Rapid lets a client that wants to have its address after two packets instead of four. The address is bound then.
	Rapid bool
	// Preference is told with offers. A client takes the highest, and one of 255 without waiting for others (RFC 8415 §18.2.1).
	Preference uint8

	// Revoke is set where the client must leave the addresses that it asks to prolong.
	Revoke bool
	// Why is a sentence for a client that gets no address; empty: a common one.
	Why string

	DNS     []netip.Addr
	Domains []string
	NTP     []netip.Addr
	// Options are sent as they are to clients that ask for them, in place of what Reply would say. The key is the option's number.
	Options map[uint16][]byte

	Delay time.Duration // before answering; see dhcp.Wait
}

// Boot is what to boot.
type Boot struct {
	URL    string   // printable ASCII, with the address in brackets: "tftp://[fd00::1]/snponly.efi"; empty to boot nothing
	Params []string // for the boot file, where it takes any
}

// Lease is an address: the client may use it for new connections for the time Preferred and at all for the time Valid.
type Lease struct {
	Address          netip.Addr
	Preferred, Valid time.Duration
	// Renew and Rebind are when the client asks for more time: T1 and T2 (RFC 8415 §21.4). Zero: half of Preferred, and four fifths.
	Renew, Rebind time.Duration
}
