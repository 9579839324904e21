package dhcpsim

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

var (
	mac    = history.MAC{ownMAC, 0, 0, 0, 1, 2}
	relay  = netip.MustParseAddr("10.20.0.1")
	wanted = netip.MustParseAddr("10.20.1.7")
	server = netip.MustParseAddr("10.0.0.2")
)

// TestPacketsAreWhatOthersRead reads the simulation's packets with a library that others wrote.
func TestPacketsAreWhatOthersRead(t *testing.T) {
	b := request(history.Request, 0x01020304, mac).waited(3*time.Second).address(optRequested, wanted).address(optServer, server).bytes()
	p, err := dhcpv4.FromBytes(relayed(b, relay, []byte("port 7")))
	if err != nil {
		t.Fatal(err)
	}
	if p.MessageType() != dhcpv4.MessageTypeRequest || p.ClientHWAddr.String() != mac.String() || p.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) || p.NumSeconds != 3 {
		t.Errorf("got %s", p.Summary())
	}
	if p.RequestedIPAddress().String() != wanted.String() || p.ServerIdentifier().String() != server.String() || p.GatewayIPAddr.String() != relay.String() || p.HopCount != 1 {
		t.Errorf("got %s", p.Summary())
	}
	if got := p.RelayAgentInfo().Get(dhcpv4.AgentCircuitIDSubOption); string(got) != "port 7" {
		t.Errorf("the circuit is %q", got)
	}
	if p, err = dhcpv4.FromBytes(relayed(b, relay, nil)); err != nil || p.RelayAgentInfo() != nil {
		t.Errorf("an agent that says nothing of itself adds option 82: %v", err)
	}
}

// TestAnswersOfOthersAreRead reads what that library writes.
func TestAnswersOfOthersAreRead(t *testing.T) {
	answer := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootReply, HWType: 1, ClientHWAddr: mac[:], TransactionID: dhcpv4.TransactionID{1, 2, 3, 4}, YourIPAddr: wanted.AsSlice(),
		ClientIPAddr: []byte{0, 0, 0, 0}, ServerIPAddr: []byte{0, 0, 0, 0}, GatewayIPAddr: relay.AsSlice(), Options: dhcpv4.Options{}}
	answer.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))
	answer.UpdateOption(dhcpv4.OptServerIdentifier(server.AsSlice()))
	answer.UpdateOption(dhcpv4.OptIPAddressLeaseTime(time.Minute))
	answer.UpdateOption(dhcpv4.OptRenewTimeValue(20 * time.Second))
	b := answer.ToBytes()
	want := reply{message: history.ACK, xid: 0x01020304, mac: mac, address: wanted, server: server, lease: time.Minute, t1: 20 * time.Second}
	if got, ok := parse(b); !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for cut := range len(b) {
		if r, ok := parse(b[:cut]); ok && r.message == 0 {
			t.Errorf("%d bytes are taken for an answer without a message", cut)
		}
	}
	if _, ok := parse(request(history.Discover, 1, mac).bytes()); ok {
		t.Error("a request is taken for an answer")
	}
}

func TestFramesAreReadBack(t *testing.T) {
	// A frame that this side sends goes to port 67; turned round it is an answer.
	frame := datagram(everybody, mac, everyone, nobody, []byte("payload"))
	if _, ok := unframe(frame); ok {
		t.Error("a packet for servers is taken for one for clients")
	}
	frame[ethernet+20+1], frame[ethernet+20+3] = 67, 68
	if h, ok := unframe(frame); !ok || h.mac != mac || h.from != nobody || !bytes.Equal(h.payload, []byte("payload")) {
		t.Errorf("got %+v", h)
	}
	question := arp(everybody, wanted, mac, server)
	question[ethernet+7] = 1
	if h, ok := unframe(question); !ok || h.who != wanted || h.from != server || h.mac != mac {
		t.Errorf("got %+v", h)
	}
	if _, ok := unframe(arp(mac, wanted, mac, server)); ok {
		t.Error("an answer of ARP is taken for a question")
	}
	for cut := range len(frame) {
		unframe(frame[:cut]) // must not panic
	}
}

// TestASeedDecidesWhatMachinesAre compares two simulations.
func TestASeedDecidesWhatMachinesAre(t *testing.T) {
	make := func(seed uint64) *Sim {
		o := Options{Seed: seed, Machines: 200, Direct: 5, Networks: []Network{{Name: "a", Relay: relay}, {Name: "b", Relay: relay}, {Name: "floor"}}}
		return New(o, nil, history.New())
	}
	a, b, c := make(7), make(7), make(8)
	roles, same := map[role]int{}, true
	for i, m := range a.machines {
		roles[m.role]++
		if n := b.machines[i]; m.role != n.role || m.mac != n.mac || m.network.Name != n.network.Name || m.random.Uint64() != n.random.Uint64() {
			t.Fatalf("machine %d differs", i)
		}
		same = same && m.network.Name == c.machines[i].network.Name
	}
	if same {
		t.Error("another seed makes the same machines")
	}
	if roles[mover] != 20 || roles[clone] != 8 || roles[liar] != 2 || len(a.Want()) != 195 {
		t.Errorf("roles %v, %d well-behaved", roles, len(a.Want()))
	}
	if a.machines[50].mac != a.machines[51].mac || a.machines[50].network.Name != a.machines[51].network.Name {
		t.Error("clones have different MACs or places")
	}
	if got := len(a.MACs()); got != 201 {
		t.Errorf("%d MACs, want one for each machine but the four that have another's", got)
	}
}
