package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/ipv6"

	"github.com/kiln-farm/kiln/edge/links"
)

// Offer is what an Advertiser offers on an interface. The zero value: nothing.
type Offer struct {
	Managed  bool          // addresses come by DHCPv6: iPXE and operating systems ask for them only then
	Other    bool          // there are options by DHCPv6
	Lifetime time.Duration // as a default router; zero: it is none
	Prefixes []Prefix
	DNS      []netip.Addr // RFC 8106
}

// Prefix is a network of the link (RFC 4861 §4.6.2).
type Prefix struct {
	Prefix           netip.Prefix
	OnLink           bool // its addresses are reached without a router
	Autonomous       bool // machines make addresses of their own in it (RFC 4862); its length is 64 then
	Valid, Preferred time.Duration
}

const (
	remindEvery = 3 * time.Minute // that everybody is told again: addresses end otherwise (RFC 4861 §6.2.1 has up to 30 minutes)
	optPrefix   = 3               // options of advertisements
	optResolver = 25
)

// empty tells whether there is nothing that anybody would have to be reminded of.
func (o Offer) empty() bool { return !o.Managed && !o.Other && o.Lifetime == 0 && len(o.Prefixes) == 0 }

// advertisement is the packet of an offer. The kernel writes the checksum.
func advertisement(mac net.HardwareAddr, o Offer) []byte {
	b := make([]byte, advertisementLen)
	b[0] = routerAdvertisement
	if o.Managed {
		b[5] |= 0x80
	}
	if o.Other {
		b[5] |= 0x40
	}
	binary.BigEndian.PutUint16(b[6:], uint16(min(o.Lifetime/time.Second, 0xffff)))
	if len(mac) == 6 {
		b = append(append(b, linkAddressOption, 1), mac...)
	}
	for _, p := range o.Prefixes {
		flags := byte(0)
		if p.OnLink {
			flags |= 0x80
		}
		if p.Autonomous {
			flags |= 0x40
		}
		network := p.Prefix.Masked().Addr().As16()
		b = append(b, optPrefix, 4, byte(p.Prefix.Bits()), flags)
		b = binary.BigEndian.AppendUint32(b, uint32(p.Valid/time.Second))
		b = binary.BigEndian.AppendUint32(b, uint32(p.Preferred/time.Second))
		b = append(append(b, 0, 0, 0, 0), network[:]...)
	}
	if len(o.DNS) > 0 {
		b = append(b, optResolver, byte(1+2*len(o.DNS)), 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(3*remindEvery/time.Second))
		for _, a := range o.DNS {
			b = append(b, a.AsSlice()...)
		}
	}
	return b
}

// like tells whether another's advertisement is as ours but for the sender: another edge of the room, which may die without
// anybody missing what it offers.
func (n *nic) like(packet []byte) bool {
	const head, checksum = 8, 2
	ours := advertisement(nil, n.offer)
	return bytes.Equal(packet[:checksum], ours[:checksum]) && bytes.Equal(packet[4:head], ours[4:head]) && slices.EqualFunc(offered(packet), offered(ours), bytes.Equal)
}

// offered are the options of an advertisement but for the sender's address.
func offered(packet []byte) [][]byte {
	var all [][]byte
	for b := packet[advertisementLen:]; len(b) >= 2 && b[1] > 0 && len(b) >= 8*int(b[1]); b = b[8*int(b[1]):] {
		if b[0] != linkAddressOption {
			all = append(all, b[:8*int(b[1])])
		}
	}
	return all
}

// remind tells everybody what is offered, now and then, until what it returns is called.
func (a *Advertiser) remind(ctx context.Context, conn *ipv6.PacketConn, nics map[int]*nic) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; links.Pause(ctx, remindEvery) {
			for _, n := range nics {
				a.mu.Lock()
				now := time.Now()
				quiet := n.offer.empty() || now.Before(n.quietUntil) || now.Before(n.everyoneAt)
				if !quiet {
					n.everyoneAt = now.Add(multicastGap)
				}
				a.mu.Unlock()
				if !quiet {
					_, _ = conn.WriteTo(advertisement(n.HardwareAddr, n.offer), &ipv6.ControlMessage{HopLimit: nearHops, IfIndex: n.Index}, &net.IPAddr{IP: allNodes, Zone: n.Name}) // the next time, then
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}
