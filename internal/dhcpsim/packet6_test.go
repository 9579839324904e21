package dhcpsim

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

var (
	wanted6 = netip.MustParseAddr("fd67::7")
	relay6  = netip.MustParseAddr("fd67::1")
	server6 = "\x00\x04kiln six server!"
)

// TestMessagesOfIPv6AreAsTheRFCHasThem compares them with bytes that were written by hand (RFC 8415 §8, §9, §21; RFC 6939 §4).
func TestMessagesOfIPv6AreAsTheRFCHasThem(t *testing.T) {
	who := identity{duid: "\x00\x03\x00\x01" + string(mac[:]), iaid: [4]byte{0, 0, 0, 7}}
	m := request6(dhcpv6.MessageTypeRequest, 0x010203, who, 3*time.Second, wanted6)
	inner := "03 010203" +
		"0001 000a 0003 0001 060000000102" +
		"0008 0002 012c" +
		"0003 0028 00000007 00000000 00000000 0005 0018 fd670000000000000000000000000007 00000000 00000000"
	outer := "0c 00 fd670000000000000000000000000001 fe8000000000000004 0000fffe000102" +
		"0012 0004 68616c6c" +
		"004f 0008 0001 060000000102" +
		"0009 0044" + inner
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"a REQUEST", inner, m.ToBytes()},
		{"through a relay agent", outer, relayed6(m, Network{Relay: relay6, Circuit: "hall", Hardware: true}, mac, ofMAC(mac)).ToBytes()},
	} {
		if got, want := hex.EncodeToString(c.got), strings.ReplaceAll(c.want, " ", ""); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, want)
		}
	}
}

func TestAnswersOfIPv6AreRead(t *testing.T) {
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	m.AddOption(generic(dhcpv6.OptionClientID, 0, 3, 0, 1, 6, 0, 0, 0, 1, 2))
	m.AddOption(generic(dhcpv6.OptionServerID, []byte(server6)...))
	ia := &dhcpv6.OptIANA{IaId: [4]byte{0, 0, 0, 7}, T1: 20 * time.Second, T2: 30 * time.Second}
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: wanted6.AsSlice(), PreferredLifetime: 40 * time.Second, ValidLifetime: time.Minute})
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: relay6.AsSlice()})
	m.AddOption(ia)
	want := reply6{kind: dhcpv6.MessageTypeReply, xid: 0x010203, server: server6, client: "\x00\x03\x00\x01" + string(mac[:]), iaid: [4]byte{0, 0, 0, 7},
		address: wanted6, lease: time.Minute, t1: 20 * time.Second, t2: 30 * time.Second, taken: []netip.Addr{relay6}}
	if got, ok := parse6(m.ToBytes()); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	outer := relayed6(m, Network{Relay: relay6, Circuit: "hall"}, mac, ofMAC(mac))
	outer.MessageType = dhcpv6.MessageTypeRelayReply
	want.link, want.peer, want.circuit = relay6, ofMAC(mac), "hall"
	b := outer.ToBytes()
	if got, ok := parse6(b); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	m.UpdateOption(&dhcpv6.OptIANA{IaId: [4]byte{0, 0, 0, 7}, Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail}}}})
	if got, ok := parse6(m.ToBytes()); !ok || got.status != iana.StatusNoAddrsAvail || got.address.IsValid() {
		t.Errorf("got %+v, want that there is no address", got)
	}
	if _, ok := parse6(request6(dhcpv6.MessageTypeSolicit, 1, identity{}, 0).ToBytes()); ok {
		t.Error("a request is taken for an answer")
	}
}

func FuzzParse6(f *testing.F) {
	m := request6(dhcpv6.MessageTypeReply, 1, identity{duid: "\x00\x03\x00\x01" + string(mac[:])}, 0, wanted6)
	m.AddOption(generic(dhcpv6.OptionServerID, []byte(server6)...))
	f.Add(m.ToBytes())
	f.Add(relayed6(m, Network{Relay: relay6, Circuit: "hall", Hardware: true}, mac, ofMAC(mac)).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := parse6(b); ok && (r.server == "" || r.kind != dhcpv6.MessageTypeAdvertise && r.kind != dhcpv6.MessageTypeReply) {
			t.Errorf("%x is taken for an answer: %+v", b, r)
		}
	})
}

func TestFramesOfIPv6(t *testing.T) {
	// The pseudo-header and a packet with its checksum add up to ones (RFC 8200 §8.1).
	sum := func(frame []byte) uint16 {
		body := frame[ethernet+header6:]
		return checksum(frame[ethernet+8:ethernet+header6], body, []byte{0, frame[ethernet+6], byte(len(body) >> 8), byte(len(body))})
	}
	frame := datagram6(mac, ofMAC(mac), []byte("payload")) // of odd length
	if got := sum(frame); got != 0 {
		t.Errorf("the checksum of UDP is wrong by %04x", got)
	}
	if _, ok := unframe6(frame); ok {
		t.Error("a packet for servers is taken for one for clients")
	}
	frame[ethernet+header6+2], frame[ethernet+header6+3] = ourPort>>8, ourPort&255
	if h, ok := unframe6(frame); !ok || h.mac != mac || h.from != ofMAC(mac) || !bytes.Equal(h.payload, []byte("payload")) {
		t.Errorf("got %+v", h)
	}
	answer := neighbour(everybody, relay6, mac, ofMAC(mac))
	if got := sum(answer); got != 0 {
		t.Errorf("the checksum of ICMPv6 is wrong by %04x", got)
	}
	if _, ok := unframe6(answer); ok {
		t.Error("an advertisement of a neighbour is taken for a question")
	}
	answer[ethernet+header6] = solicitation
	if h, ok := unframe6(answer); !ok || h.who != ofMAC(mac) || h.from != ofMAC(mac) {
		t.Errorf("got %+v", h)
	}
	for _, b := range [][]byte{frame, answer} {
		for cut := range len(b) {
			unframe6(b[:cut]) // must not panic
		}
	}
}

// RFC 8415 §15: RT is twice the last one, by a tenth more or less, and MRT bounds it.
func TestRetransmission(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		r, last := retransmission{first: time.Second, most: 8 * time.Second, times: 6}, time.Duration(0)
		for i := range 6 {
			if r.over() {
				t.Fatalf("it is over after %d of 6", i)
			}
			got, from, to := r.next(random), last*19/10, last*21/10
			switch {
			case i == 0:
				from, to = 900*time.Millisecond, 1100*time.Millisecond
			case to > 8*time.Second:
				from, to = min(from, 7200*time.Millisecond), 8800*time.Millisecond
			}
			if got < from || got > to {
				t.Fatalf("wait %d is %s after %s, want %s to %s", i, got, last, from, to)
			}
			last = got
		}
		if !r.over() {
			t.Fatal("it is not over after 6 of 6")
		}
		if s := solicits; s.next(random) < time.Second || s.over() {
			t.Fatal("a SOLICIT waits for less than IRT, or has an end")
		}
	}
}

// TestMachinesOfIPv6 are what a seed makes of them, and which programs they are known as.
func TestMachinesOfIPv6(t *testing.T) {
	n := func(name, prefix string, relay netip.Addr, hardware bool) Network {
		return Network{Name: name, Prefix: netip.MustParsePrefix(prefix), Relay: relay, Hardware: hardware}
	}
	s := New(Options{Seed: 7, Machines: 60, Six: 60, SixDirect: 4, Networks: []Network{{Name: "old", Prefix: netip.MustParsePrefix("10.20.0.0/16"), Relay: relay},
		n("hall", "fd67:0:0:1::/64", relay6, true), n("attic", "fd67:0:0:2::/64", relay6, false), n("floor", "fd66::/64", netip.Addr{}, false)}}, nil, history.New())
	roles, both := map[role]int{}, 0
	for k, m := range s.six.machines {
		roles[m.role]++
		if m.id != 60+k || s.actors[m.id] != actor(m) || !m.network.six() {
			t.Fatalf("machine %d is the %dth of IPv6, in %s", m.id, k, m.network.Name)
		}
		if k < 60 && m.mac == s.machines[k].mac {
			both++
		}
		seen := map[string]bool{}
		for _, p := range []program{firmware, ipxe, system} {
			i := m.identityOf(p)
			seen[i.duid+string(i.iaid[:])] = true
			known := m.network.Hardware || i.from == ofMAC(m.mac) || strings.HasSuffix(i.duid, string(m.mac[:]))
			if !known || !m.network.Relay.IsValid() && i.from != ofMAC(m.mac) {
				t.Errorf("machine %d in %s: nobody can tell the hardware address from %x at %s", m.id, m.network.Name, i.duid, i.from)
			}
		}
		if len(seen) != 3 {
			t.Errorf("machine %d has %d associations, want one for each program", m.id, len(seen))
		}
	}
	if roles[mover] != 6 || roles[clone] != 16 || roles[liar] != 2 || both == 0 {
		t.Errorf("roles %v, %d machines of both families", roles, both)
	}
	if a, b := s.six.machines[11], s.six.machines[12]; a.mac != b.mac || a.network.Name != b.network.Name || a.identityOf(system) == b.identityOf(system) {
		t.Error("clones have different MACs or places, or the same association")
	}
	if got, want := len(s.Want()), 56+46; got != want { // without clones and liars
		t.Errorf("%d machines must have an address, want %d", got, want)
	}
}
