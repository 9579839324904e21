package history

import (
	"fmt"
	"net/netip"
	"time"
)

// MAC is a hardware address, by which clients are told apart.
type MAC [6]byte

// String writes it as Kiln does.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Message is a DHCP message type (RFC 2132 §9.6).
type Message uint8

// The messages that matter here.
const (
	Discover Message = 1
	Offer    Message = 2
	Request  Message = 3
	Decline  Message = 4
	ACK      Message = 5
	NAK      Message = 6
	Release  Message = 7
)

// String is the message's name.
func (m Message) String() string {
	names := [...]string{"?", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE"}
	if int(m) < len(names) {
		return names[m]
	}
	return names[0]
}

// Mode is what a REQUEST is for (RFC 2131 §4.3.2). DHCPv6 has messages of their own for it (RFC 8415 §7.3).
type Mode uint8

// The modes.
const (
	None Mode = iota // it is no REQUEST
	Selecting
	Rebooting
	Renewing
	Rebinding
	Rapid // a SOLICIT that a REPLY is welcome to (RFC 8415 §18.2.1); no REQUEST either
)

// String is the mode's name.
func (m Mode) String() string {
	return [...]string{"", "SELECTING", "INIT-REBOOT", "RENEWING", "REBINDING", "Rapid Commit"}[m]
}

// Event is a packet that a machine sent, or received and took for its own.
//
// Those of DHCPv6 are told by what they mean in DHCP: a SOLICIT is a Discover, an ADVERTISE an Offer, and REQUEST, CONFIRM, RENEW
// and REBIND are Requests of the modes Selecting, Rebooting, Renewing and Rebinding. A REPLY is an ACK when it gives an address or
// confirms it, and a NAK when it takes the one that was asked for away. One that does both is both, in this order: NAK, ACK.
type Event struct {
	At       time.Duration // since the begin, by a clock that nobody sets
	Received bool
	Machine  int // many may have one MAC
	MAC      MAC // in the packet
	Network  string
	Six      bool // DHCPv6
	Message  Message
	Mode     Mode
	XID      uint32
	Address  netip.Addr // that is asked for, given back, or given
	Server   netip.Addr // option 54; of DHCPv6 an address of the server whose DUID it is
	From     netip.Addr // that a received packet came from
	Lease    time.Duration
}

func (e Event) String() string {
	way := "sends"
	if e.Received {
		way = "gets"
	}
	s := fmt.Sprintf("%9.3f s machine %d (%s) in %s %s %s", e.At.Seconds(), e.Machine, e.MAC, e.Network, way, e.Name())
	if e.Address.IsValid() {
		s += " " + e.Address.String()
	}
	if e.Lease > 0 {
		s += fmt.Sprintf(" for %.1f s", e.Lease.Seconds())
	}
	if e.Server.IsValid() {
		s += " server " + e.Server.String()
	}
	return s + fmt.Sprintf(" xid %08x", e.XID)
}

// Name is what the message is called in its family.
func (e Event) Name() string {
	name := e.Message.String()
	switch {
	case e.Six && e.Message == Request:
		return [...]string{"", "REQUEST", "CONFIRM", "RENEW", "REBIND", ""}[e.Mode]
	case e.Six:
		name = [...]string{"?", "SOLICIT", "ADVERTISE", "", "DECLINE", "REPLY", "REPLY that refuses", "RELEASE"}[e.Message]
	}
	if e.Mode != None {
		name += " " + e.Mode.String()
	}
	return name
}

// Violation is something that must not be.
type Violation struct {
	Kind   Kind
	At     time.Duration
	Text   string
	Events []Event // what led to it
}

func (v Violation) String() string {
	s := fmt.Sprintf("%s at %.3f s: %s", v.Kind, v.At.Seconds(), v.Text)
	for _, e := range v.Events {
		s += "\n    " + e.String()
	}
	return s
}

// Kind is which rule is broken.
type Kind string

// The rules.
const (
	TwoClients   Kind = "an address of two clients"
	Refused      Kind = "a client is refused what it has"
	Moved        Kind = "a client is given another address than it has"
	WrongServer  Kind = "an answer from a server that was not chosen"
	WrongAddress Kind = "an answer with another address than asked for"
	Outside      Kind = "an address from no pool"
	Unasked      Kind = "an answer to nobody's question"
	NoTime       Kind = "an ACK without a lease time"
	Homeless     Kind = "a client without an address"
	Forgotten    Kind = "an address that its client has and the farm does not know"
	Doubled      Kind = "a client with two addresses in the farm's books"
)
