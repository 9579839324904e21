package history

import (
	"net/netip"
	"testing"
)

var (
	hall6   = Network{"hall", [][2]netip.Addr{{addr("fd00::10"), addr("fd00::99")}}}
	attic6  = Network{"attic", [][2]netip.Addr{{addr("fd01::10"), addr("fd01::99")}}}
	first6  = addr("fd00::10")
	other6  = addr("fd00::11")
	outside = addr("fd00::5")
)

// six are events of DHCPv6.
func six(parts ...[]Event) []Event {
	all := join(parts...)
	for i := range all {
		all[i].Six = true
	}
	return all
}

// rapidly is a client that gets an address for 10 seconds by two packets.
func (m machine) rapidly(at float64, xid uint32, address, server netip.Addr) []Event {
	return []Event{m.sends(at, Discover, Rapid, xid, netip.Addr{}, netip.Addr{}), m.gets(at+0.3, ACK, xid, address, server, 10)}
}

// renews is a client that renews, of the server that it chose, and what it is told.
func (m machine) renews(at float64, xid uint32, address, server netip.Addr, told ...Event) []Event {
	return append([]Event{m.sends(at, Request, Renewing, xid, address, server)}, told...)
}

func TestAModelFindsWhatMustNotBeOverIPv6AndNothingElse(t *testing.T) {
	none := netip.Addr{}
	has := anna.takes(0, 1, first6, one)
	release := func(m machine, at float64) []Event { return []Event{m.sends(at, Release, None, 9, first6, one)} }
	for _, c := range []struct {
		name   string
		events []Event
		want   []Kind
	}{
		{"two clients with an address each", six(has, bert.takes(1, 2, other6, two)), nil},
		{"an address of two clients", six(has, bert.takes(1, 2, first6, two)), []Kind{TwoClients}},
		{"by Rapid Commit", six(anna.rapidly(0, 1, first6, one), bert.rapidly(1, 2, first6, two)), []Kind{TwoClients}},
		{"the time counts from the REPLY", six(has, bert.takes(9.9, 2, first6, two)), []Kind{TwoClients}},
		{"an address passes on when its time is over", six(has, bert.takes(10.1, 2, first6, two)), nil},
		{"an address passes on after a RELEASE", six(has, release(anna, 2), bert.takes(3, 2, first6, two)), nil},
		{"a RELEASE by another client does nothing", six(has, release(bert, 2), bert.takes(3, 2, first6, two)), []Kind{TwoClients}},
		{"a RELEASE of one of two with a MAC is one of its association only", six(has, clone.takes(1, 2, first6, two), release(clone, 2), bert.takes(3, 4, first6, two)), []Kind{TwoClients}},
		{"a RELEASE of both", six(has, clone.takes(1, 2, first6, two), release(clone, 2), release(anna, 2.5), bert.takes(3, 4, first6, two)), nil},
		{"an address passes on after its client declined it", six(has, []Event{anna.sends(2, Decline, None, 9, first6, one)}, bert.takes(3, 2, first6, two)), nil},
		{"a DECLINE by another client does nothing", six(has, []Event{bert.sends(2, Decline, None, 9, first6, one)}, bert.takes(3, 2, first6, two)), []Kind{TwoClients}},
		{"a renewal makes the time longer", six(has, anna.renews(5, 3, first6, one, anna.gets(5.1, ACK, 3, first6, one, 10)), bert.takes(12, 2, first6, two)), []Kind{TwoClients}},
		{"a renewal may be for less time", six(has, anna.renews(5, 3, first6, one, anna.gets(5.1, ACK, 3, first6, one, 2)), bert.takes(8, 2, first6, two)), nil},
		{"what another program of a machine is told takes nothing from what it was told before", six(has,
			[]Event{anna.sends(2, Request, Selecting, 3, first6, one), anna.gets(2.1, ACK, 3, first6, one, 1)}, bert.takes(5, 2, first6, two)), []Kind{TwoClients}},
		{"another address than asked for", six([]Event{anna.sends(0, Request, Selecting, 1, first6, one), anna.gets(0.1, ACK, 1, other6, one, 10)}), nil},
		{"a client is given two addresses", six(has, anna.takes(3, 2, other6, two)), []Kind{Moved}},
		{"a renewal is answered with another address", six(has, anna.renews(5, 3, first6, one, anna.gets(5.1, ACK, 3, other6, one, 10))), []Kind{Moved}},
		{"an address is taken away in time", six(has, anna.renews(5, 3, first6, one, anna.gets(5.1, NAK, 3, none, one, 0))), []Kind{Refused}},
		{"and another one given", six(has, anna.renews(5, 3, first6, one, anna.gets(5.1, NAK, 3, none, one, 0), anna.gets(5.1, ACK, 3, other6, one, 10))), []Kind{Refused}},
		{"an address is taken away from who never had it, and another one given", six(has, bert.renews(5, 3, first6, one, bert.gets(5.1, NAK, 3, none, one, 0), bert.gets(5.1, ACK, 3, other6, one, 10))), nil},
		{"who renews another's address gets it", six(has, bert.renews(5, 3, first6, one, bert.gets(5.1, ACK, 3, first6, one, 10))), []Kind{TwoClients}},
		{"another server than the chosen one answers", six([]Event{anna.sends(0, Request, Selecting, 1, first6, one), anna.gets(0.1, ACK, 1, first6, two, 10)}), []Kind{WrongServer}},
		{"another server than the one of the address renews it", six(has, anna.renews(5, 3, first6, one, anna.gets(5.1, ACK, 3, first6, two, 10))), []Kind{WrongServer}},
		{"any server may when all are asked", six(has, []Event{anna.asks(5, Rebinding, 3, first6), anna.gets(5.1, ACK, 3, first6, two, 10)}), nil},
		{"a server speaks for another one", six([]Event{anna.asks(0, Rebinding, 1, first6),
			{At: seconds(0.1), Received: true, Machine: 1, MAC: anna.mac, Network: "hall", Message: NAK, XID: 1, Server: one, From: two}}), []Kind{WrongServer}},
		{"a CONFIRM is confirmed, which makes no time longer", six(has, []Event{anna.asks(5, Rebooting, 3, first6), anna.gets(5.1, ACK, 3, first6, one, 0)}, bert.takes(11, 2, first6, two)), nil},
		{"nor shorter", six(has, []Event{anna.asks(5, Rebooting, 3, first6), anna.gets(5.1, ACK, 3, first6, one, 0)}, bert.takes(9, 2, first6, two)), []Kind{TwoClients}},
		{"who has moved is told so", six(has, []Event{anna.in("attic").asks(5, Rebooting, 3, first6), anna.in("attic").gets(5.1, NAK, 3, none, one, 0)}), nil},
		{"who has moved is told that all is well", six(has, []Event{anna.in("attic").asks(5, Rebooting, 3, first6), anna.in("attic").gets(5.1, ACK, 3, first6, one, 0)}), []Kind{Outside}},
		{"who has not moved is told that it has", six(has, []Event{anna.asks(5, Rebooting, 3, first6), anna.gets(5.1, NAK, 3, none, two, 0)}), []Kind{Refused}},
		{"a REPLY gives no time", six([]Event{anna.sends(0, Request, Selecting, 1, first6, one), anna.gets(0.1, ACK, 1, first6, one, 0)}), []Kind{NoTime}},
		{"an address outside the pools is advertised and given", six(anna.takes(0, 1, outside, one)), []Kind{Outside, Outside}},
		{"an answer that nobody asked for", six([]Event{anna.gets(0, ACK, 7, first6, one, 10)}), []Kind{Unasked}},
		{"an address of IPv4 beside it is another matter", join(six(has), anna.in("yard").takes(3, 2, first, one)), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, Check(c.events, hall6, attic6), c.want)
		})
	}
}

func TestFamiliesAreCountedApart(t *testing.T) {
	events := join(anna.in("yard").takes(0, 1, first, one), six(bert.rapidly(1, 2, first6, two), bert.renews(5, 3, first6, two, bert.gets(5.1, ACK, 3, first6, two, 10)),
		[]Event{bert.asks(6, Rebooting, 4, first6), bert.gets(6.1, ACK, 4, first6, one, 0), bert.sends(7, Release, None, 5, first6, one)}))
	m := Check(events, hall6)
	if s := m.Stats; s.ACKs[Selecting] != 1 || s.Addresses != 1 || s.Offers != 1 || s.Sent != 2 || s.Messages["DISCOVER"] != 1 || s.ServersThatGave[two] != 0 {
		t.Errorf("of IPv4: %+v", s)
	}
	if s := m.Six; s.ACKs[Rapid] != 1 || s.ACKs[Renewing] != 1 || s.ACKs[Rebooting] != 1 || s.Addresses != 1 || s.Kept != 1 || s.Releases != 1 || s.ServersThatGave[two] != 2 {
		t.Errorf("of IPv6: %+v", s)
	}
	for name, want := range map[string]int{"SOLICIT Rapid Commit": 1, "RENEW": 1, "CONFIRM": 1, "RELEASE": 1, "REPLY": 3} {
		if got := m.Six.Messages[name]; got != want {
			t.Errorf("%d times %s, want %d", got, name, want)
		}
	}
}
