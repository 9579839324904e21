package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv6"

	"github.com/kiln-farm/kiln/edge/links"
)

// Kinds of ICMPv6 packets (RFC 4861 §4), and addresses of everybody on a link.
const (
	routerSolicitation  = 133
	routerAdvertisement = 134
	linkAddressOption   = 1   // of the sender
	nearHops            = 255 // hop limit of a packet that no router has passed on
	advertisementLen    = 16  // bytes before the options
)

var (
	allRouters = net.ParseIP("ff02::2")
	allNodes   = net.ParseIP("ff02::1")
)

const (
	multicastGap = 3 * time.Second  // RFC 4861 §10, MIN_DELAY_BETWEEN_RAS
	otherRouter  = 30 * time.Minute // that we are silent after a real router was heard
)

// Advertiser answers IPv6 router solicitations. Unless an Offer says more, it says that there is nothing: no default route, no
// prefix, no DHCPv6. A client that waits to learn whether there is IPv6 goes on at once; without it iPXE waits 5 to 16 seconds.
//
// Where a real router advertises itself it says nothing, so that no client misses what that one offers; what another edge of
// the same room offers is no such thing. Unlike a router (RFC 4861 §6.2.6) it does not wait a moment before it answers:
// nobody's load depends on it, and a machine's boot does.
type Advertiser struct {
	Interfaces []string
	Offers     map[string]Offer // by interface; those without one offer nothing
	Log        *slog.Logger

	mu sync.Mutex // guards when each nic may send
}

// nic is an interface that the Advertiser answers on.
type nic struct {
	*net.Interface
	offer                  Offer
	quietUntil, everyoneAt time.Time // everyoneAt is when an advertisement to all may be sent again
}

// Serve answers until ctx ends. It needs CAP_NET_RAW.
func (a *Advertiser) Serve(ctx context.Context) error {
	log := a.Log
	if log == nil {
		log = slog.Default()
	}
	raw, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return fmt.Errorf("answer IPv6 router solicitations: %w; it needs CAP_NET_RAW, and IPv6 in the kernel", err)
	}
	defer raw.Close()
	conn := ipv6.NewPacketConn(raw)
	nics, err := a.join(conn)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	defer a.remind(ctx, conn, nics)()
	buffer := make([]byte, longestPacket)
	for {
		n, control, from, err := conn.ReadFrom(buffer)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("answer IPv6 router solicitations: %w", err)
		case err != nil || control == nil:
			links.Pause(ctx, links.BadRead)
			continue
		}
		nic, source := nics[control.IfIndex], sourceOf(from)
		if nic == nil || !source.IsValid() {
			continue
		}
		a.mu.Lock()
		to := nic.hear(time.Now(), buffer[:n], control.HopLimit, source)
		a.mu.Unlock()
		if to == nil {
			continue
		}
		_, err = conn.WriteTo(advertisement(nic.HardwareAddr, nic.offer), &ipv6.ControlMessage{HopLimit: nearHops, IfIndex: nic.Index}, &net.IPAddr{IP: to, Zone: nic.Name})
		log.Debug("answered an IPv6 router solicitation", "client", source, "interface", nic.Name, "error", err)
	}
}

// join has solicitations on the interfaces come to the socket.
func (a *Advertiser) join(conn *ipv6.PacketConn) (map[int]*nic, error) {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	err := errors.Join(conn.SetICMPFilter(&filter), conn.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true), conn.SetMulticastLoopback(false))
	if err != nil {
		return nil, fmt.Errorf("answer IPv6 router solicitations: %w", err)
	}
	nics := map[int]*nic{}
	for _, name := range a.Interfaces {
		i, err := net.InterfaceByName(name)
		if err == nil {
			err = conn.JoinGroup(i, &net.IPAddr{IP: allRouters})
		}
		if err != nil {
			return nil, fmt.Errorf("answer IPv6 router solicitations on the interface %q: %w; it must be there, and IPv6 not be turned off on it", name, err)
		}
		nics[i.Index] = &nic{Interface: i, offer: a.Offers[name]}
	}
	return nics, nil
}

func sourceOf(a net.Addr) netip.Addr {
	i, ok := a.(*net.IPAddr)
	if !ok {
		return netip.Addr{}
	}
	source, _ := netip.AddrFromSlice(i.IP)
	return source
}

// hear takes a packet and says where an advertisement is to go, if anywhere.
func (n *nic) hear(now time.Time, packet []byte, hops int, source netip.Addr) net.IP {
	if router(packet, hops) && !n.like(packet) {
		n.quietUntil = now.Add(otherRouter)
		return nil
	}
	if !solicitation(packet, hops, source) || now.Before(n.quietUntil) {
		return nil
	}
	if !source.IsUnspecified() {
		return source.AsSlice()
	}
	if now.Before(n.everyoneAt) {
		return nil // it asks again
	}
	n.everyoneAt = now.Add(multicastGap)
	return allNodes
}

// router tells whether a packet is of a router that offers something. Other edges offer nothing, as we do.
func router(packet []byte, hops int) bool {
	if len(packet) < advertisementLen || packet[0] != routerAdvertisement || hops != nearHops {
		return false
	}
	lifetime, managed := binary.BigEndian.Uint16(packet[6:]), packet[5]&0xc0 != 0
	const prefixOption = 3
	prefix := false
	ok := options(packet[advertisementLen:], func(kind byte) { prefix = prefix || kind == prefixOption })
	return ok && (lifetime > 0 || managed || prefix)
}

// solicitation checks a packet as RFC 4861 §6.1.1 wants it.
func solicitation(packet []byte, hops int, source netip.Addr) bool {
	const header = 8
	if len(packet) < header || packet[0] != routerSolicitation || packet[1] != 0 || hops != nearHops {
		return false
	}
	address := false
	ok := options(packet[header:], func(kind byte) { address = address || kind == linkAddressOption })
	return ok && !(address && source.IsUnspecified())
}

// options calls f for the kind of each option, and tells whether they are well formed.
func options(b []byte, f func(kind byte)) bool {
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return false
		}
		f(b[0])
		b = b[8*int(b[1]):]
	}
	return true
}
