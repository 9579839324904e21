package dhcpsim

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// Options of DHCP that the simulated clients send or read (RFC 2132).
const (
	optHostname  = 12
	optRequested = 50
	optLease     = 51
	optMessage   = 53
	optServer    = 54
	optFile      = 67
	optParams    = 55
	optMaxSize   = 57
	optT1        = 58
	optT2        = 59
	optClass     = 60
	optClientID  = 61
	optUserClass = 77
	optRelay     = 82
	optArch      = 93
	optUNDI      = 94
	optUUID      = 97
	optIPXE      = 175
)

const (
	header    = 240 // bytes, with the magic cookie
	leastSize = 300 // bytes of a BOOTP packet (RFC 1542 §2.1)
)

// packet is a request in the making.
type packet struct{ b []byte }

func request(message history.Message, xid uint32, mac history.MAC) *packet {
	p := &packet{make([]byte, header, 400)}
	p.b[0], p.b[1], p.b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(p.b[4:], xid)
	copy(p.b[28:], mac[:])
	copy(p.b[236:], []byte{99, 130, 83, 99})
	return p.option(optMessage, byte(message))
}

func (p *packet) option(code byte, value ...byte) *packet {
	p.b = append(append(p.b, code, byte(len(value))), value...)
	return p
}

func (p *packet) address(code byte, a netip.Addr) *packet {
	if a.Is4() {
		p.option(code, a.AsSlice()...)
	}
	return p
}

// from sets ciaddr.
func (p *packet) from(a netip.Addr) *packet {
	if a.Is4() {
		copy(p.b[12:], a.AsSlice())
	}
	return p
}

// waited sets the seconds since the client began.
func (p *packet) waited(d time.Duration) *packet {
	binary.BigEndian.PutUint16(p.b[8:], uint16(min(d/time.Second, 0xffff)))
	return p
}

func (p *packet) bytes() []byte {
	b := append(p.b, 255)
	for len(b) < leastSize {
		b = append(b, 0)
	}
	return b
}

// relayed is a packet as a relay agent passes it on.
func relayed(b []byte, relay netip.Addr, circuit []byte) []byte {
	out := append([]byte{}, b...)
	out[3]++ // hops
	copy(out[24:], relay.AsSlice())
	if len(circuit) > 0 {
		end := header
		for end < len(out) && out[end] != 255 {
			if out[end] == 0 {
				end++
				continue
			}
			end += 2 + int(out[end+1])
		}
		out = append(out[:end], optRelay, byte(2+len(circuit)), 1, byte(len(circuit)))
		out = append(append(out, circuit...), 255)
	}
	return out
}

// reply is what a client reads of an answer.
type reply struct {
	message       history.Message
	xid           uint32
	mac           history.MAC
	address       netip.Addr
	server        netip.Addr
	lease, t1, t2 time.Duration
	next          netip.Addr // siaddr
	file          string
}

// parse reads an answer; false when it is none.
func parse(b []byte) (r reply, ok bool) {
	if len(b) < header || b[0] != 2 || b[2] != 6 || [4]byte(b[236:240]) != [4]byte{99, 130, 83, 99} {
		return r, false
	}
	r.xid = binary.BigEndian.Uint32(b[4:])
	copy(r.mac[:], b[28:])
	if a := netip.AddrFrom4([4]byte(b[16:20])); !a.IsUnspecified() {
		r.address = a
	}
	if a := netip.AddrFrom4([4]byte(b[20:24])); !a.IsUnspecified() {
		r.next = a
	}
	file, _, _ := bytes.Cut(b[108:236], []byte{0})
	r.file = string(file)
	for o := b[header:]; len(o) > 0 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			return r, false
		}
		value := o[2 : 2+int(o[1])]
		switch {
		case o[0] == optMessage && len(value) == 1:
			r.message = history.Message(value[0])
		case o[0] == optFile && len(value) > 0:
			r.file = strings.TrimRight(string(value), "\x00")
		case o[0] == optServer && len(value) == 4:
			r.server = netip.AddrFrom4([4]byte(value))
		case len(value) == 4 && (o[0] == optLease || o[0] == optT1 || o[0] == optT2):
			d := time.Duration(binary.BigEndian.Uint32(value)) * time.Second
			*map[byte]*time.Duration{optLease: &r.lease, optT1: &r.t1, optT2: &r.t2}[o[0]] = d
		}
		o = o[2+len(value):]
	}
	return r, r.message != 0
}
