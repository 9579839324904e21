package pool

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestClientsAreToldWhatTheyAreCalled(t *testing.T) {
	const wire = "\x04\x00\x00"
	clients, machines := &kilnv1.DNSUpdate{Server: "s:53", Zone: "lab.example", Clients: true}, &kilnv1.DNSUpdate{Server: "s:53", Zone: "lab.example"}
	described := &kilnv1.Machine{Name: "web", Macs: []string{pcMAC}}
	for _, c := range []struct {
		name     string
		update   *kilnv1.DNSUpdate
		machine  *kilnv1.Machine
		fqdn     string // option 81
		hostname string // option 12
		label    string // that is committed
		want     string // option 81
	}{
		{"by option 81", clients, nil, wire + "\x02PC", "other", "pc", "\x07\xff\xff\x02pc\x03lab\x07example\x00"},
		{"by option 12", clients, nil, "", "My PC", "my-pc", ""},
		{"by option 12 when option 81 has no name", clients, nil, "\x01\x00\x00", "pc", "pc", "\x01\xff\xffpc.lab.example"},
		{"it wants no name", clients, nil, "\x0c\x00\x00\x02pc", "pc", "", "\x0c\xff\xff\x02pc"},
		{"a machine's name", clients, nil, "\x05\x00\x00\x03web", "", "", "\x0e\xff\xff\x03web"},
		{"only machines are published", machines, nil, "\x05\x00\x00\x02pc", "pc", "", "\x0e\xff\xff\x02pc"},
		{"a machine that is described", machines, described, "\x05\x00\x00\x02pc", "pc", "", "\x05\xff\xff\x03web\x03lab\x07example\x00"},
		{"nothing is published", nil, nil, "\x05\x00\x00\x02pc", "pc", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.10"))
				in.Subnets[0].DnsUpdate = c.update
				in.Machines = []*kilnv1.Machine{{Name: "web", Macs: []string{"52:54:00:99:99:99"}}}
				if c.machine != nil {
					in.Machines = []*kilnv1.Machine{c.machine}
				}
				f := newTestFarm(t, in)
				e := newEdge(t, f, "edge1")
				defer e.end()
				ask := func(message dhcpv4.MessageType, server string) Answer {
					p := packet{message: message, mac: pcMAC, asked: ten, server: server}.classify(t, e.own...)
					d, err := dhcpv4.New(dhcpv4.WithHwAddr(p.MAC), dhcpv4.WithMessageType(message))
					if err != nil {
						t.Fatal(err)
					}
					for code, value := range map[uint8][]byte{12: []byte(c.hostname), 50: addressBytes(ten), 54: addressBytes(server), 81: []byte(c.fqdn)} {
						if len(value) > 0 {
							d.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
						}
					}
					q, err := dhcp.Classify(d.ToBytes(), p.Ingress)
					if err != nil {
						t.Fatal(err)
					}
					q.Own = e.own
					ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
					defer cancel()
					return e.Decide(ctx, q, c.machine, c.machine.GetName())
				}
				if a := ask(dhcpv4.MessageTypeDiscover, ""); !a.Give || a.Options[optName] != nil {
					t.Errorf("offered: %s, option 81 %q", show(a), a.Options[optName])
				}
				a := ask(dhcpv4.MessageTypeRequest, us)
				if !a.Bound || string(a.Options[optName]) != c.want {
					t.Errorf("%s, option 81 %q, want %q", show(a), a.Options[optName], c.want)
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				if got := f.state.Binding("a", netip.MustParseAddr(ten)).GetName(); got != c.label {
					t.Errorf("committed %q, want %q", got, c.label)
				}
			})
		})
	}
}

// A machine at its fixed address is told its name, too.
func TestMachinesAtFixedAddressesAreToldWhatTheyAreCalled(t *testing.T) {
	p := New(Config{Edge: "e"})
	s := subnetOf("a", "10.1.0.0/24")
	s.DnsUpdate = &kilnv1.DNSUpdate{Server: "s:53", Zone: "lab.example"}
	p.Set(&kilnv1.Intent{Subnets: []*kilnv1.Subnet{s}})
	c := packet{message: dhcpv4.MessageTypeRequest, asked: ten, server: us}.classify(t, own)
	lease := dhcp.Lease{Address: netip.MustParsePrefix("10.1.0.10/24"), Host: "web"}
	if got := p.Fill(c, &lease)[optName]; got != nil {
		t.Errorf("who did not ask is told %q", got)
	}
	d, err := dhcpv4.New(dhcpv4.WithHwAddr(c.MAC), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(81), []byte("\x00\x00\x00pc"))))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = dhcp.Classify(d.ToBytes(), c.Ingress); err != nil {
		t.Fatal(err)
	}
	if got, want := string(p.Fill(c, &lease)[optName]), "\x03\xff\xffweb.lab.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
