package dhcp

import (
	"strings"

	"github.com/kiln-farm/kiln/internal/dnsname"
)

// optFQDN is the Client FQDN option (RFC 4702).
const optFQDN = 81

// Bits of its flags (RFC 4702 §2.1).
const (
	fqdnServer   = 1 << 0 // S: the server publishes the name
	fqdnOverride = 1 << 1 // O: that is not what the client wanted
	fqdnWire     = 1 << 2 // E: the name is encoded as in DNS
	fqdnNone     = 1 << 3 // N: the server publishes nothing
)

// FQDN is what a client says of its name in DNS: option 81.
type FQDN struct {
	Sent bool
	Name string // printable; may be a part of a name, or empty
	// None: the client wants none of its names published.
	None bool

	flags byte
	raw   []byte // the name as it came
}

// readFQDN reads option 81: flags, two codes that mean nothing any more, and a name.
func readFQDN(b []byte) FQDN {
	if len(b) < 3 {
		return FQDN{}
	}
	f := FQDN{Sent: true, flags: b[0], None: b[0]&fqdnNone != 0, raw: b[3:]}
	name := string(f.raw)
	if f.flags&fqdnWire != 0 {
		var err error
		if name, err = dnsname.FromWire(f.raw); err != nil {
			return f
		}
	}
	f.Name = strings.TrimSuffix(text([]byte(name)), ".")
	return f
}

// Answer is option 81 of an ACK (RFC 4702 §4): name is what the client is published as, or empty when it is not. It is empty when
// the option is not to be sent.
func (f FQDN) Answer(name string) []byte {
	if !f.Sent {
		return nil
	}
	flags := f.flags & fqdnWire
	raw := f.raw
	if name != "" {
		flags |= fqdnServer
		if f.flags&fqdnServer == 0 {
			flags |= fqdnOverride
		}
		if raw = []byte(name); flags&fqdnWire != 0 {
			raw = dnsname.Wire(name)
		}
	} else {
		flags |= fqdnNone
		if f.flags&fqdnServer != 0 {
			flags |= fqdnOverride
		}
	}
	if len(raw) > 255-3 {
		return nil
	}
	return append([]byte{flags, 255, 255}, raw...) // RFC 4702 §2.2: 255 is what servers set
}
