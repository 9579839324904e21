package dhcp

import (
	"net/netip"
	"time"
)

// Mode is what part of the answer is ours.
type Mode int

// The modes of a Plan.
const (
	Silent Mode = iota // say nothing
	Proxy              // say what to boot; the address comes from the site's own server
	Full               // give the address too
)

// Plan is what a client is to be told.
type Plan struct {
	Mode  Mode
	Boot  Boot
	Lease Lease // with Full
	// Authoritative is set where the Lease is the only address that the client may have here: then it is told so when it
	// asks for another one. Otherwise it is not answered, as another server may have given it the other one; except when it
	// names us as the server that has.
	Authoritative bool
	// Refuse is a sentence for a client whose REQUEST cannot be granted, whatever the Lease is; with Full.
	Refuse string
	// Options are sent as they are, instead of what Reply would say. The key is the option's number.
	Options map[uint8][]byte
	// Delay is how long to wait before it is decided what to answer, with Client.Late set; see Wait. What else the plan says does not
	// matter then.
	Delay time.Duration
}

// Boot is what to boot.
type Boot struct {
	Server netip.Addr // that the boot file is fetched from, with TFTP; our own address when it is not valid
	File   string     // name or URL: printable ASCII, at most 254 bytes; empty to boot nothing, or with a Raspberry Pi, which asks for files of its own
}

// Lease is an address and what belongs to it. Fields without a value are not sent.
type Lease struct {
	Address netip.Prefix // of the client, and how many bits of it are the network's
	Router  netip.Addr
	DNS     []netip.Addr
	Host    string
	Domain  string
	Time    time.Duration // that the client may keep the address without asking again
	Routes  []Route       // a client that takes these ignores the Router (RFC 3442), so Reply adds it to them
	NTP     []netip.Addr
	Log     []netip.Addr // syslog servers
}

// Route is a way to a network.
type Route struct {
	To  netip.Prefix
	Via netip.Addr // unspecified: directly on the link
}

// Destination is where an answer goes.
type Destination struct {
	Addr netip.AddrPort
	// MAC is set for a client that has no address yet and is reached by its hardware address alone. An answer that cannot be
	// sent so may be broadcast.
	MAC []byte
}
