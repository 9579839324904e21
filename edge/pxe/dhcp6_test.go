package pxe

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const web6 = "fd77::21"

// newRoom6 is newRoomOf with an edge that answers over IPv6, too.
func newRoom6(t *testing.T) (*roomOf, *DHCP6) {
	t.Helper()
	r := newRoomOf(t)
	in := r.Intents
	boot, err := in.Index().Named("web")
	if err != nil {
		t.Fatal(err)
	}
	next := &kilnv1.Intent{Revision: 2, TokenKey: in.Key(), Releases: []*kilnv1.Release{boot.Release}, Groups: []*kilnv1.Group{{Name: "web", Selector: map[string]string{"role": "web"}, Release: "v1"}}}
	next.Machines = []*kilnv1.Machine{
		{Name: "web", Macs: []string{known}, Labels: map[string]string{"role": "web"}, Address6: web6 + "/64", Dns: []string{"10.0.0.1", "fd77::53"}},
		{Name: "store", Macs: []string{onDisk}, Labels: map[string]string{"role": "web"}, LocalDisk: true},
		{Name: "board", Uuid: "33221100-5544-7766-8899-aabbccddeeff", Labels: map[string]string{"role": "web"}, Address6: "fd77::22/64"},
	}
	in.Set(next)
	p := &DHCP6{Machines: r.Machines, Programs: Programs{URL: r.URL, Loaders: map[string]string{undi: "/x/" + undi, snp: "/x/" + snp}}, Log: quiet, Full: true, URL: "http://[fd77::1]:7380",
		At: map[string]Place{"eth0": {Address: netip.MustParseAddr("fd77::1"), HTTP: "http://[fd77::1]:7380", Networks: []netip.Prefix{netip.MustParsePrefix("fd77::/64")}}}}
	return r, p
}

// client6 is what dhcp6.Classify makes of a packet of a client, behind a relay if link is not empty.
func client6(t *testing.T, mac, link string, message dhcpv6.MessageType, options ...dhcpv6.Option) dhcp6.Client {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	near := net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]}
	var m dhcpv6.DHCPv6 = &dhcpv6.Message{MessageType: message}
	for _, o := range append(options, dhcpv6.OptClientID(&dhcpv6.DUIDEN{EnterpriseNumber: 1, EnterpriseIdentifier: []byte{1}}), &dhcpv6.OptIANA{IaId: [4]byte{1}}) {
		if m.GetOneOption(o.Code()) == nil && (o.Code() != dhcpv6.OptionIANA || message != dhcpv6.MessageTypeInformationRequest) {
			m.AddOption(o)
		}
	}
	from, _ := netip.AddrFromSlice(near)
	in := dhcp6.Ingress{Interface: "eth0", From: netip.AddrPortFrom(from, 546)}
	if link != "" {
		if m, err = dhcpv6.EncapsulateRelay(m, dhcpv6.MessageTypeRelayForward, net.ParseIP(link), near); err != nil {
			t.Fatal(err)
		}
		in.From = netip.MustParseAddrPort("[fd88::9]:547")
	}
	c, err := dhcp6.Classify(m.ToBytes(), in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// firmware are the options by which firmware is known.
func firmware(class string, arch uint16) []dhcpv6.Option {
	return []dhcpv6.Option{&dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte(class)}},
		&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientArchType, OptionData: binary.BigEndian.AppendUint16(nil, arch)}}
}

var ipxe6 = []dhcpv6.Option{&dhcpv6.OptUserClass{UserClasses: [][]byte{[]byte("iPXE")}}}

func TestWhatFirmwareIsToldOverIPv6(t *testing.T) {
	byUUID := dhcpv6.OptClientID(&dhcpv6.DUIDUUID{UUID: [16]byte{0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}})
	turned := dhcpv6.OptClientID(&dhcpv6.DUIDUUID{UUID: [16]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}})
	pxe, httpBoot := firmware("PXEClient:Arch:00007:UNDI:003000", 7), firmware("HTTPClient:Arch:00016:UNDI:003000", 16)
	const script = "http://[fd77::1]:7380/boot.ipxe?mac="
	for _, c := range []struct {
		name      string
		mac, link string
		message   dhcpv6.MessageType
		options   []dhcpv6.Option
		change    func(*DHCP6)
		mode      dhcp6.Mode
		address   string
		url       string // * is what else PXE puts there
		event     string // in the last one
	}{
		{"UEFI", known, "", dhcpv6.MessageTypeSolicit, pxe, nil, dhcp6.Stateful, web6, "tftp://[fd77::1]/" + snp, "UEFI PXE (x86-64) is told tftp://[fd77::1]/snponly.efi"},
		{"UEFI without iPXE here", known, "", dhcpv6.MessageTypeSolicit, pxe, func(p *DHCP6) { p.Programs.Loaders = nil }, dhcp6.Stateful, web6, "tftp://[fd77::1]/uki/*" + known + ".efi", "is told"},
		{"UEFI HTTP boot", known, "", dhcpv6.MessageTypeSolicit, httpBoot, nil, dhcp6.Stateful, web6, "http://[fd77::1]:7380/uki/" + known + ".efi?arch=amd64", "is told"},
		{"UEFI HTTP boot from an edge with a name", known, "", dhcpv6.MessageTypeSolicit, httpBoot, func(p *DHCP6) { p.Programs.URL = "http://edge.example" }, dhcp6.Stateful, web6,
			"http://edge.example/uki/" + known + ".efi?arch=amd64", "is told"},
		{"iPXE", known, "", dhcpv6.MessageTypeSolicit, append(firmware("PXEClient", 7), ipxe6...), nil, dhcp6.Stateful, web6, script + known + "&uuid=&arch=x86_64", "iPXE (x86-64) is told"},
		{"iPXE that does not say what it runs on", known, "", dhcpv6.MessageTypeSolicit, ipxe6, nil, dhcp6.Stateful, web6, script + known + "&uuid=&arch=${buildarch}", "is told"},
		{"iPXE where machines make their addresses", known, "", dhcpv6.MessageTypeInformationRequest, ipxe6, func(p *DHCP6) { p.Full = false }, dhcp6.Stateless, "", script + known + "&uuid=&arch=${buildarch}", "is told"},
		{"by the UUID of its board", stranger, "", dhcpv6.MessageTypeSolicit, append(ipxe6, byUUID), nil, dhcp6.Stateful, "fd77::22",
			script + stranger + "&uuid=33221100-5544-7766-8899-aabbccddeeff&arch=${buildarch}", "is told"},
		{"by the UUID as EDK2 writes it", stranger, "", dhcpv6.MessageTypeSolicit, append(ipxe6, turned), nil, dhcp6.Stateful, "fd77::22",
			script + stranger + "&uuid=33221100-5544-7766-8899-aabbccddeeff&arch=${buildarch}", "is told"},
		{"an operating system", known, "", dhcpv6.MessageTypeRequest, nil, nil, dhcp6.Stateful, web6, "", ""},
		{"a machine without an IPv6 address", onDisk, "", dhcpv6.MessageTypeSolicit, pxe, nil, dhcp6.Stateful, "", "", "give it an address6"},
		{"a machine that nobody described", stranger, "", dhcpv6.MessageTypeSolicit, pxe, nil, dhcp6.Silent, "", "", "nobody described this machine"},
		{"through a relay on its link", known, "fd77::9", dhcpv6.MessageTypeSolicit, pxe, nil, dhcp6.Stateful, web6, "tftp://[fd77::1]/" + snp, "is told"},
		{"through a relay on another link", known, "fd99::9", dhcpv6.MessageTypeSolicit, nil, nil, dhcp6.Stateful, "", "", "its address6 fd77::21/64 is not of the link of fd99::9"},
		{"an edge that comes later", known, "", dhcpv6.MessageTypeSolicit, pxe, func(p *DHCP6) {
			p.Machines.Peers.Set([]string{"http://10.0.0.9:7380", "http://[fd77::2]:7380", "http://[fd77::3]:7380", "http://[fd77::4]:7380"}, time.Now())
		}, dhcp6.Silent, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := newRoom6(t)
			if c.change != nil {
				c.change(p)
			}
			plan := p.Decide(context.Background(), client6(t, c.mac, c.link, c.message, c.options...))
			address := ""
			if plan.Lease.Address.IsValid() {
				address = plan.Lease.Address.String()
			}
			begin, end, some := strings.Cut(c.url, "*")
			if plan.Mode != c.mode || address != c.address || !strings.HasPrefix(plan.Boot.URL, begin) || !strings.HasSuffix(plan.Boot.URL, end) || !some && plan.Boot.URL != c.url {
				t.Errorf("got mode %v, address %q and %q; want %v, %q and %q", plan.Mode, address, plan.Boot.URL, c.mode, c.address, c.url)
			}
			got := ""
			if events := r.Happened(); len(events) > 0 {
				got = events[len(events)-1].GetDetail()
			}
			if !strings.Contains(got, c.event) || (got == "") != (c.event == "") {
				t.Errorf("got the event %q, want %q", got, c.event)
			}
		})
	}
}

func TestTheFirstEdgeIsPreferred(t *testing.T) {
	_, p := newRoom6(t)
	c := client6(t, known, "", dhcpv6.MessageTypeSolicit)
	if plan := p.Decide(t.Context(), c); plan.Preference != 255 || plan.Delay != 0 {
		t.Errorf("alone: got the preference %d after %s, want 255 at once", plan.Preference, plan.Delay)
	}
	other := &DHCP6{Machines: p.Machines, Programs: p.Programs, Log: quiet, Full: true, URL: "http://[fd77::2]:7380", At: p.At}
	p.Machines.Peers.Set([]string{"http://10.0.0.9:7380", p.URL, other.URL}, time.Now())
	one, two := p.Decide(t.Context(), c), other.Decide(t.Context(), c)
	if one.Delay > two.Delay {
		one, two = two, one
	}
	if one.Preference != 255 || one.Delay != 0 || two.Preference != 0 || two.Delay != 150*time.Millisecond || two.Mode != dhcp6.Stateful {
		t.Errorf("got the preferences %d after %s and %d after %s, want one edge at once and the other later", one.Preference, one.Delay, two.Preference, two.Delay)
	}
}

// A token is good for secrets only where this edge gave the address itself.
func TestAddressesOfIPv6AreBound(t *testing.T) {
	for _, c := range []struct {
		name    string
		link    string
		message dhcpv6.MessageType
		options []dhcpv6.Option
		want    bool
	}{
		{"a SOLICIT", "", dhcpv6.MessageTypeSolicit, nil, false},
		{"a REQUEST", "", dhcpv6.MessageTypeRequest, nil, true},
		{"a RENEW", "", dhcpv6.MessageTypeRenew, nil, true},
		{"a SOLICIT with rapid commit", "", dhcpv6.MessageTypeSolicit, []dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}}, true},
		{"a RELEASE", "", dhcpv6.MessageTypeRelease, nil, false},
		{"a REQUEST through a relay", "fd77::9", dhcpv6.MessageTypeRequest, nil, false},
	} {
		r, p := newRoom6(t)
		p.Decide(t.Context(), client6(t, known, c.link, c.message, c.options...))
		b, ok := r.Seen.Bound(netip.MustParseAddr(web6))
		if ok != c.want || ok && (b.MAC != known || b.Address.String() != web6+"/64") {
			t.Errorf("%s: got %v %v, want %v", c.name, ok, b, c.want)
		}
	}
}

// What the machine that has its address by DHCPv6 is given is good for its secrets; what anybody else on the link is given is not.
func TestTokensOverIPv6(t *testing.T) {
	r, p := newRoom6(t)
	p.Decide(t.Context(), client6(t, known, "", dhcpv6.MessageTypeRequest))
	for from, public := range map[string]bool{web6: false, "fd77::99": true} {
		script := r.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "["+from+"]").Body.String()
		_, token, _ := strings.Cut(script, "/files/")
		token, _, _ = strings.Cut(token, "/")
		_, got, err := r.Whose(token)
		if err != nil || got.Public != public {
			t.Errorf("%s: got a token that is public: %t, %v; want %t", from, got.Public, err, public)
		}
	}
	if w := r.Get("/latest/meta-data/hostname", "["+web6+"]"); w.Code != http.StatusOK || w.Body.String() != "web" {
		t.Errorf("without a token, at its address: got %d %s", w.Code, w.Body)
	}
	if w := r.Get("/latest/meta-data/local-ipv4", "["+web6+"]"); strings.Contains(w.Body.String(), ":") {
		t.Errorf("got the IPv4 address %s", w.Body)
	}
	if w := r.Get("/latest/meta-data/hostname", "[fd77::99]"); w.Code != http.StatusForbidden {
		t.Errorf("without a token, at another address: got %d", w.Code)
	}
}
