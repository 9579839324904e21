package pool

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	solicit  = dhcpv6.MessageTypeSolicit
	request6 = dhcpv6.MessageTypeRequest
	confirm  = dhcpv6.MessageTypeConfirm
	renew    = dhcpv6.MessageTypeRenew
	rebind   = dhcpv6.MessageTypeRebind
	release6 = dhcpv6.MessageTypeRelease
	decline6 = dhcpv6.MessageTypeDecline
	inform6  = dhcpv6.MessageTypeInformationRequest
)

// our6 is the server that edges are in these tests: all of them, so that one answers for another.
var our6 = dhcp6.ServerDUID("edge")

// packet6 is a request of a client of IPv6.
type packet6 struct {
	message dhcpv6.MessageType
	mac     string // in the address that it sends from; "-": it hides it
	duid    string // in hex; empty: of type LL with its MAC
	xid     uint32
	ia      byte
	asked   []string
	rapid   bool
	class   string
	wants   []uint16
	link    string     // of a relay
	server  dhcp6.DUID // that it has chosen; empty: our6
}

func (p packet6) classify(t testing.TB) dhcp6.Client {
	t.Helper()
	if p.mac == "" {
		p.mac = pcMAC
	}
	from := netip.MustParseAddr("fe80::1234:5678:9abc:def0")
	duid := []byte{0, 3, 0, 1}
	if p.mac != "-" {
		hw, err := net.ParseMAC(p.mac)
		if err != nil {
			t.Fatal(err)
		}
		from = netip.AddrFrom16([16]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
		duid = append(duid, hw...)
	}
	if p.duid != "" {
		fmt.Sscanf(p.duid, "%x", &duid)
	}
	b := []byte{byte(p.message), byte(p.xid >> 16), byte(p.xid >> 8), byte(p.xid)}
	option := func(code uint16, value ...byte) {
		b = binary.BigEndian.AppendUint16(b, code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	option(1, duid...)
	switch p.message {
	case request6, renew, release6, decline6:
		if p.server == nil {
			p.server = our6
		}
		option(2, p.server...)
	}
	if p.message != inform6 {
		ia := append([]byte{0, 0, 0, p.ia}, make([]byte, 8)...)
		for _, a := range p.asked {
			ia = append(append(ia, 0, 5, 0, 24), netip.MustParseAddr(a).AsSlice()...)
			ia = append(ia, make([]byte, 8)...)
		}
		option(3, ia...)
	}
	if p.rapid {
		option(14)
	}
	if p.class != "" {
		option(16, append([]byte{0, 0, 1, 0x57, 0, byte(len(p.class))}, p.class...)...)
	}
	var wants []byte
	for _, code := range p.wants {
		wants = binary.BigEndian.AppendUint16(wants, code)
	}
	option(6, wants...)
	in := dhcp6.Ingress{Interface: "eth0", From: netip.AddrPortFrom(from, 546), To: netip.MustParseAddr("ff02::1:2")}
	if p.link != "" {
		link, peer := netip.MustParseAddr(p.link).As16(), from.As16()
		inner := b
		b = append(append([]byte{12, 0}, link[:]...), peer[:]...)
		option(18, 'p', 'o', 'r', 't')
		option(9, inner...)
		in.From, in.To = netip.MustParseAddrPort("[fd99::9]:547"), netip.MustParseAddr("fd01::2")
	}
	c, err := dhcp6.Classify(b, in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var link6 = Link{Own: []netip.Addr{netip.MustParseAddr("fd01::2")}, Networks: []netip.Prefix{netip.MustParsePrefix("fd01::/64")}, Rapid: true}

func (e edge) ask6(t testing.TB, p packet6, machine *kilnv1.Machine) string {
	t.Helper()
	text, _ := e.reply6(t, p, machine)
	return text
}

// reply6 is what a client gets, as tests compare it: "REPLY fd01::10 for 1h0m0s".
func (e edge) reply6(t testing.TB, p packet6, machine *kilnv1.Machine) (string, *dhcpv6.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	c := p.classify(t)
	a := e.Decide6(ctx, c, machine, "", link6)
	if !a.Mine {
		return "not mine", nil
	}
	answer, err := dhcp6.Reply(c, a.Plan, our6)
	if err != nil {
		return "silent: " + a.Why + " " + err.Error(), nil
	}
	m, err := dhcpv6.MessageFromBytes(answer.Message.ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{m.MessageType.String()}
	if s := m.Options.Status(); s != nil {
		out = append(out, s.StatusCode.String())
	}
	for _, ia := range m.Options.IANA() {
		if s := ia.Options.Status(); s != nil {
			out = append(out, s.StatusCode.String(), s.StatusMessage)
		}
		for _, one := range ia.Options.Addresses() {
			got, _ := netip.AddrFromSlice(one.IPv6Addr)
			out = append(out, got.String()+" for "+one.ValidLifetime.String())
			if one.ValidLifetime > 0 && !(0 < ia.T1 && ia.T1 < ia.T2 && ia.T2 < one.PreferredLifetime && one.PreferredLifetime < one.ValidLifetime) {
				t.Errorf("T1 %s, T2 %s, preferred %s, valid %s are not in this order", ia.T1, ia.T2, one.PreferredLifetime, one.ValidLifetime)
			}
		}
	}
	if m.GetOneOption(dhcpv6.OptionRapidCommit) != nil {
		out = append(out, "at once")
	}
	return strings.Join(out, " "), m
}
