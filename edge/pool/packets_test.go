package pool

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const pcMAC = "52:54:00:77:00:01"

var own = netip.MustParsePrefix("10.1.0.2/24")

// packet is a request of a client.
type packet struct {
	message                 dhcpv4.MessageType
	mac                     string
	xid                     uint32
	ciaddr, asked, server   string
	giaddr, class, clientID string
	relay, subnet           []byte
	to                      string // empty: everybody
	secs                    uint16
}

func (p packet) classify(t testing.TB, own ...netip.Prefix) dhcp.Client {
	t.Helper()
	if p.mac == "" {
		p.mac = pcMAC
	}
	mac, err := net.ParseMAC(p.mac)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dhcpv4.New(dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(p.message))
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(d.TransactionID[:], p.xid)
	d.NumSeconds = p.secs
	for text, to := range map[string]*net.IP{p.ciaddr: &d.ClientIPAddr, p.giaddr: &d.GatewayIPAddr} {
		if text != "" {
			*to = net.ParseIP(text).To4()
		}
	}
	for code, value := range map[uint8][]byte{50: addressBytes(p.asked), 54: addressBytes(p.server), 60: []byte(p.class), 61: []byte(p.clientID), 82: p.relay, 118: p.subnet} {
		if len(value) > 0 {
			d.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
		}
	}
	in := dhcp.Ingress{Interface: "eth0", Port: dhcp.ServerPort, From: netip.AddrPortFrom(netip.IPv4Unspecified(), 68), To: netip.MustParseAddr("255.255.255.255")}
	if p.ciaddr != "" {
		in.From = netip.AddrPortFrom(netip.MustParseAddr(p.ciaddr), 68)
	}
	if p.to != "" {
		in.To = netip.MustParseAddr(p.to)
	}
	c, err := dhcp.Classify(d.ToBytes(), in)
	if err != nil {
		t.Fatal(err)
	}
	c.Own = own
	return c
}

func addressBytes(text string) []byte {
	if text == "" {
		return nil
	}
	return netip.MustParseAddr(text).AsSlice()
}

// show is an answer as tests compare it.
func show(a Answer) string {
	switch {
	case !a.Mine:
		return "not mine"
	case a.Refuse != "":
		return "NAK " + a.Refuse
	case !a.Give:
		return "silent: " + a.Why
	}
	s := fmt.Sprintf("%s for %s", a.Lease.Address, a.Lease.Time)
	if a.Bound {
		s = "bound " + s
	}
	return s
}

// edge is one edge with a pool and the answers that it sends.
type edge struct {
	*Pool
	farm *testFarm
	own  []netip.Prefix
	end  func()
}

func (e edge) ask(t testing.TB, p packet) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	return show(e.Decide(ctx, p.classify(t, e.own...), nil, ""))
}

func newEdge(t testing.TB, f *testFarm, name string, change ...func(*Config)) edge {
	t.Helper()
	cfg := Config{Edge: name, Farm: farmOf{f, name}, Log: slog.New(slog.DiscardHandler), Clock: func() time.Duration { return time.Since(f.begun) }}
	for _, c := range change {
		c(&cfg)
	}
	p := New(cfg)
	f.mu.Lock()
	p.Set(f.state.Intent())
	f.mu.Unlock()
	f.watch(p)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	return edge{p, f, []netip.Prefix{own}, func() { cancel(); running.Wait() }}
}

// room is an intent with subnets: "10.1.0.0/24 10.1.0.10-10.1.0.20".
func room(subnets ...*kilnv1.Subnet) *kilnv1.RoomCommand {
	return &kilnv1.RoomCommand{Subnets: subnets}
}

func subnetOf(name, prefix string, ranges ...string) *kilnv1.Subnet {
	s := &kilnv1.Subnet{Name: name, Prefix: prefix, LeaseSeconds: 3600, BootLeaseSeconds: 600}
	for _, r := range ranges {
		from, to, _ := strings.Cut(r, "-")
		s.Pools = append(s.Pools, &kilnv1.AddressRange{From: from, To: to})
	}
	return s
}
