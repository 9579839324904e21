package history

import (
	"net/netip"
	"testing"
	"time"
)

// Short words for what histories are made of. Times are in seconds.
var (
	hall  = Network{"hall", [][2]netip.Addr{{addr("10.0.0.10"), addr("10.0.0.99")}}}
	attic = Network{"attic", [][2]netip.Addr{{addr("10.1.0.10"), addr("10.1.0.99")}}}
	one   = addr("10.0.0.1")
	two   = addr("10.0.0.2")
	first = addr("10.0.0.10")
	other = addr("10.0.0.11")
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// machine makes the packets of one; machines of the same letter have the same MAC.
type machine struct {
	id      int
	mac     MAC
	network string
}

var (
	anna  = machine{1, MAC{2, 0, 0, 0, 0, 'a'}, "hall"}
	bert  = machine{2, MAC{2, 0, 0, 0, 0, 'b'}, "hall"}
	clone = machine{3, MAC{2, 0, 0, 0, 0, 'a'}, "hall"}
)

func (m machine) in(network string) machine { m.network = network; return m }

func (m machine) sends(at float64, message Message, mode Mode, xid uint32, address, server netip.Addr) Event {
	return Event{At: seconds(at), Machine: m.id, MAC: m.mac, Network: m.network, Message: message, Mode: mode, XID: xid, Address: address, Server: server}
}

func (m machine) gets(at float64, message Message, xid uint32, address, server netip.Addr, lease float64) Event {
	return Event{At: seconds(at), Received: true, Machine: m.id, MAC: m.mac, Network: m.network, Message: message, XID: xid, Address: address, Server: server, From: server, Lease: seconds(lease)}
}

// takes is a client that gets an address for 10 seconds of a server.
func (m machine) takes(at float64, xid uint32, address, server netip.Addr) []Event {
	return []Event{
		m.sends(at, Discover, None, xid, netip.Addr{}, netip.Addr{}),
		m.gets(at+0.1, Offer, xid, address, server, 10),
		m.sends(at+0.2, Request, Selecting, xid, address, server),
		m.gets(at+0.3, ACK, xid, address, server, 10),
	}
}

func (m machine) asks(at float64, mode Mode, xid uint32, address netip.Addr) Event {
	return m.sends(at, Request, mode, xid, address, netip.Addr{})
}

func join(parts ...[]Event) (all []Event) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestAModelFindsWhatMustNotBeAndNothingElse(t *testing.T) {
	none := netip.Addr{}
	for _, c := range []struct {
		name   string
		events []Event
		want   []Kind
	}{
		{"two clients with an address each", join(anna.takes(0, 1, first, one), bert.takes(1, 2, other, two)), nil},
		{"an address of two clients", join(anna.takes(0, 1, first, one), bert.takes(1, 2, first, two)), []Kind{TwoClients}},
		{"an address passes on when its time is over", join(anna.takes(0, 1, first, one), bert.takes(10, 2, first, two)), nil},
		{"an address passes on a tenth of a second too early", join(anna.takes(0, 1, first, one), bert.takes(9.8, 2, first, two)), []Kind{TwoClients}},
		{"the time counts from the last REQUEST, not from the ACK", join(anna.takes(0, 1, first, one), bert.takes(9.95, 2, first, two)), nil},
		{"an address passes on after a RELEASE", join(anna.takes(0, 1, first, one), []Event{anna.sends(2, Release, None, 9, first, one)}, bert.takes(3, 2, first, two)), nil},
		{"a RELEASE by another client does nothing", join(anna.takes(0, 1, first, one), []Event{bert.sends(2, Release, None, 9, first, one)}, bert.takes(3, 2, first, two)), []Kind{TwoClients}},
		{"a DECLINE by another client does nothing", join(anna.takes(0, 1, first, one), []Event{bert.sends(2, Decline, None, 9, first, one)}, bert.takes(3, 2, first, two)), []Kind{TwoClients}},
		{"an address passes on after its client declined it", join(anna.takes(0, 1, first, one), []Event{anna.sends(2, Decline, None, 9, first, one)}, bert.takes(3, 2, first, two)), nil},
		{"a renewal makes the time longer", join(anna.takes(0, 1, first, one),
			[]Event{anna.asks(5, Renewing, 3, first), anna.gets(5.1, ACK, 3, first, one, 10)}, bert.takes(12, 2, first, two)), []Kind{TwoClients}},
		{"a renewal that is not answered does not", join(anna.takes(0, 1, first, one), []Event{anna.asks(5, Renewing, 3, first)}, bert.takes(12, 2, first, two)), nil},
		{"a renewal may be for less time", join(anna.takes(0, 1, first, one),
			[]Event{anna.asks(5, Renewing, 3, first), anna.gets(5.1, ACK, 3, first, one, 2)}, bert.takes(8, 2, first, two)), nil},
		{"the same address in two networks", join(anna.takes(0, 1, first, one), bert.in("yard").takes(1, 2, first, two)), nil},
		{"two machines with one MAC are one client", join(anna.takes(0, 1, first, one), clone.takes(1, 2, first, two)), nil},
		{"a RELEASE of one of them is one of both", join(anna.takes(0, 1, first, one), clone.takes(1, 2, first, two),
			[]Event{clone.sends(2, Release, None, 9, first, one)}, bert.takes(3, 4, first, two)), nil},
		{"a client is given two addresses", join(anna.takes(0, 1, first, one), anna.takes(3, 2, other, two)), []Kind{Moved}},
		{"machines with one MAC are given two addresses", join(anna.takes(0, 1, first, one), clone.takes(3, 2, other, two)), []Kind{Moved}},
		{"a client is given another address after it gave the first one back", join(anna.takes(0, 1, first, one), []Event{anna.sends(2, Release, None, 9, first, one)}, anna.takes(3, 2, other, two)), nil},
		{"a client is given another address after its time", join(anna.takes(0, 1, first, one), anna.takes(11, 2, other, two)), nil},
		{"a client has an address in each network", join(anna.takes(0, 1, first, one), anna.in("attic").takes(3, 2, addr("10.1.0.10"), two), anna.takes(5, 3, first, one)), nil},
		{"a client comes back to a network and is given another address there", join(anna.takes(0, 1, first, one), anna.in("attic").takes(3, 2, addr("10.1.0.10"), two), anna.takes(5, 3, other, one)), []Kind{Moved}},
		{"a renewal in time is refused", join(anna.takes(0, 1, first, one), []Event{anna.asks(5, Renewing, 3, first), anna.gets(5.1, NAK, 3, none, one, 0)}), []Kind{Refused}},
		{"a client that starts again in time is refused", join(anna.takes(0, 1, first, one), []Event{anna.asks(5, Rebooting, 3, first), anna.gets(5.1, NAK, 3, none, two, 0)}), []Kind{Refused}},
		{"one server acknowledges a renewal and another one refuses it", join(anna.takes(0, 1, first, one),
			[]Event{anna.asks(5, Rebinding, 3, first), anna.gets(5.1, ACK, 3, first, one, 10), anna.gets(5.2, NAK, 3, none, two, 0)}), []Kind{Refused}},
		{"a renewal after the time is refused", join(anna.takes(0, 1, first, one), []Event{anna.asks(10.3, Rebinding, 3, first), anna.gets(10.4, NAK, 3, none, one, 0)}), nil},
		{"a renewal in time is refused when the time is over", join(anna.takes(0, 1, first, one), []Event{anna.asks(10, Rebinding, 3, first), anna.gets(10.4, NAK, 3, none, one, 0)}), nil},
		{"who asks for another's address is refused", join(anna.takes(0, 1, first, one), []Event{bert.asks(5, Rebooting, 3, first), bert.gets(5.1, NAK, 3, none, one, 0)}), nil},
		{"who asks for another's address in its name gets it", join(anna.takes(0, 1, first, one), []Event{bert.asks(5, Renewing, 3, first), bert.gets(5.1, ACK, 3, first, one, 10)}), []Kind{TwoClients}},
		{"a client that is refused in another network has what it had in this one", join(anna.takes(0, 1, first, one),
			[]Event{anna.in("attic").asks(5, Rebooting, 3, first), anna.in("attic").gets(5.1, NAK, 3, none, one, 0)}, bert.takes(6, 4, first, one)), []Kind{TwoClients}},
		{"another server than the chosen one acknowledges", []Event{anna.sends(0, Request, Selecting, 1, first, one), anna.gets(0.1, ACK, 1, first, two, 10)}, []Kind{WrongServer}},
		{"another server than the chosen one refuses", []Event{anna.sends(0, Request, Selecting, 1, first, one), anna.gets(0.1, NAK, 1, none, two, 0)}, []Kind{WrongServer}},
		{"a server speaks for another one", []Event{anna.asks(0, Rebooting, 1, first),
			{At: seconds(0.1), Received: true, Machine: 1, MAC: anna.mac, Network: "hall", Message: NAK, XID: 1, Server: one, From: two}}, []Kind{WrongServer}},
		{"an ACK has another address than the REQUEST", []Event{anna.asks(0, Rebooting, 1, first), anna.gets(0.1, ACK, 1, other, one, 10)}, []Kind{WrongAddress}},
		{"an ACK has no lease time", []Event{anna.asks(0, Rebooting, 1, first), anna.gets(0.1, ACK, 1, first, one, 0)}, []Kind{NoTime}},
		{"an address outside the pools is offered and acknowledged", anna.takes(0, 1, addr("10.0.0.5"), one), []Kind{Outside, Outside}},
		{"an answer that nobody asked for", []Event{anna.gets(0, ACK, 7, first, one, 10)}, []Kind{Unasked}},
		{"an answer to what was asked before", []Event{anna.asks(0, Rebooting, 6, first), anna.asks(1, Rebooting, 7, first), anna.gets(2, ACK, 6, first, one, 10)}, []Kind{Unasked}},
		{"an address is offered to two, which is no promise", []Event{
			anna.sends(0, Discover, None, 1, none, none), anna.gets(0.1, Offer, 1, first, one, 10), bert.sends(0, Discover, None, 2, none, none), bert.gets(0.1, Offer, 2, first, two, 10)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, Check(c.events, hall, attic), c.want)
		})
	}
}

// expect compares the kinds of violations, in their order.
func expect(t *testing.T, m *Model, want []Kind) {
	t.Helper()
	var got []Kind
	for _, v := range m.Violations {
		got = append(got, v.Kind)
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q: %v", got, want, m.Violations)
	}
	for i, kind := range want {
		if got[i] != kind {
			t.Errorf("got %q, want %q", got[i], kind)
		}
	}
}

func TestTheEndIsComparedWithTheBooks(t *testing.T) {
	events := join(anna.takes(0, 1, first, one), bert.takes(1, 2, other, two))
	at := seconds(5)
	entry := func(address netip.Addr, m machine, bound bool, left float64) Entry {
		return Entry{"hall", address, m.mac.String(), bound, seconds(left)}
	}
	for _, c := range []struct {
		name  string
		books []Entry
		want  []Kind
	}{
		{"the books are right", []Entry{entry(first, anna, true, 6), entry(other, bert, true, 6.2)}, nil},
		{"the books know more", []Entry{entry(first, anna, true, 6), entry(other, bert, true, 6.2), entry(addr("10.0.0.12"), machine{9, MAC{2, 9}, "hall"}, true, 3)}, nil},
		{"an address is missing", []Entry{entry(other, bert, true, 6.2)}, []Kind{Forgotten}},
		{"an address is another's", []Entry{entry(first, bert, true, 6)}, []Kind{Forgotten, Forgotten}},
		{"an address is free", []Entry{entry(first, anna, false, 6), entry(other, bert, true, 6.2)}, []Kind{Forgotten}},
		{"a time is too short", []Entry{entry(first, anna, true, 5.1), entry(other, bert, true, 6.2)}, []Kind{Forgotten}},
		{"a client is there twice", []Entry{entry(first, anna, true, 6), entry(other, bert, true, 6.2), entry(addr("10.0.0.12"), anna, true, 6)}, []Kind{Doubled}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Check(events, hall)
			m.Compare(at, c.books)
			if len(m.Violations) != len(c.want) {
				t.Fatalf("got %v, want %q", m.Violations, c.want)
			}
			for i, v := range m.Violations {
				if v.Kind != c.want[i] {
					t.Errorf("got %s, want %s", v, c.want[i])
				}
			}
		})
	}
}

func TestMachinesThatMustHaveAnAddress(t *testing.T) {
	m := Check(anna.takes(0, 1, first, one), hall)
	m.Need(seconds(5), map[int]string{1: "hall"})
	if len(m.Violations) != 0 {
		t.Errorf("it has one: %v", m.Violations)
	}
	m.Need(seconds(5), map[int]string{1: "attic", 2: "hall"})
	if len(m.Violations) != 2 || m.Violations[0].Kind != Homeless {
		t.Errorf("got %v, want two that have none where they are", m.Violations)
	}
	m = Check(anna.takes(0, 1, first, one), hall)
	if m.Need(seconds(10.3), map[int]string{1: "hall"}); len(m.Violations) != 1 {
		t.Errorf("its time is over: %v", m.Violations)
	}
}

func TestAHistoryIsCounted(t *testing.T) {
	s := Check(join(anna.takes(0, 1, first, one), []Event{anna.asks(5, Renewing, 3, first), anna.gets(5.1, ACK, 3, first, two, 10)}, bert.takes(20, 4, first, two), anna.takes(40, 5, first, one), anna.takes(60, 6, first, one)), hall).Stats
	if s.ACKs[Selecting] != 4 || s.ACKs[Renewing] != 1 || s.Addresses != 1 || s.Passed != 2 || s.Kept != 1 || s.Again != 1 || s.ServersThatGave[one] != 3 || s.Offers != 4 {
		t.Errorf("got %+v", s)
	}
}
