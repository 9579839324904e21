package dhcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Vendor options of PXE 2.1 (table 2-1), which are within option 43.
var (
	// bootAtOnce is "discovery control" with bit 3: no menu and no search for boot servers, the file of this answer is it.
	// Without it UEFI firmware asks again on port 4011, and some of it finds nobody there (edk2#8149).
	bootAtOnce = []byte{6, 1, 8, 255}
	// piMenu is bootAtOnce with the menu that the boot ROM of a Raspberry Pi looks for: an entry of type 0, and a prompt.
	piMenu = slices.Concat([]byte{6, 1, 8}, []byte{9, 20, 0, 0, 17}, []byte("Raspberry Pi Boot"), []byte{10, 4, 0}, []byte("PXE"), []byte{255})
	// noProxy is option 175.176 of iPXE: it waits for no other server's answer.
	noProxy = []byte{176, 1, 1, 255}
)

// boot says what to boot.
func (c Client) boot(p *dhcpv4.DHCPv4, plan Plan, self netip.Addr) error {
	file := plan.Boot.File
	if file == "" && c.Kind != Pi {
		return silent("there is nothing for it to boot")
	}
	if err := checkFile(file); err != nil {
		return err
	}
	server := plan.Boot.Server
	if !server.IsValid() {
		server = self
	}
	if !server.Is4() {
		return fmt.Errorf("the boot server %s has no IPv4 address, and DHCPv4 can name no other", server)
	}
	p.ServerIPAddr = ip(server) // EDK2 prefers it to option 54
	p.ServerHostName = server.String()
	p.Options[optTFTPServer] = []byte(server.String())
	if len(file) <= fileField {
		p.BootFileName = file
	} else {
		p.Options[optBootFile] = append([]byte(file), 0) // EDK2 writes a zero byte after the value, wherever that is
	}
	if class := c.class(); class != "" {
		p.Options[optClass] = []byte(class)
	}
	switch c.Kind {
	case BIOS, UEFI:
		p.Options[optVendor] = bootAtOnce
	case Pi:
		p.Options[optVendor] = piMenu
	case IPXE:
		if plan.Mode == Full {
			p.Options[optIPXE] = noProxy
		}
	}
	return nil
}

func checkFile(file string) error {
	if len(file) > longestURL {
		return fmt.Errorf("the boot file's name has %d bytes and DHCP carries %d; make the URL shorter", len(file), longestURL)
	}
	for i := range len(file) {
		if file[i] <= ' ' || file[i] > '~' {
			return fmt.Errorf("the boot file's name %q has bytes that are not printable ASCII; escape them", file)
		}
	}
	return nil
}

// lease says what belongs to an address. In the answer to an INFORM there is no address (RFC 2131 §4.3.5).
func (c Client) lease(p *dhcpv4.DHCPv4, l Lease) error {
	if c.Message != dhcpv4.MessageTypeInform {
		p.YourIPAddr = ip(l.Address.Addr())
		p.Options[optLeaseTime] = binary.BigEndian.AppendUint32(nil, seconds(l.Time))
	}
	if l.Address.IsValid() {
		p.Options[optMask] = binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-l.Address.Bits()))
	}
	for code, addrs := range map[uint8][]netip.Addr{optRouter: {l.Router}, optDNS: l.DNS, optNTP: l.NTP, optLog: l.Log} {
		value, err := addresses(addrs)
		if err != nil {
			return fmt.Errorf("option %d: %w", code, err)
		}
		if len(value) > 0 {
			p.Options[code] = value
		}
	}
	for code, name := range map[uint8]string{optHostname: l.Host, optDomain: l.Domain} {
		if text([]byte(name)) != name {
			return fmt.Errorf("the name %q has bytes that are not printable ASCII", name)
		}
		if name != "" {
			p.Options[code] = []byte(name)
		}
	}
	if len(l.Routes) == 0 || len(c.Wants) > 0 && !slices.Contains(c.Wants, optRoutes) {
		return nil
	}
	value, err := routes(l.Routes, l.Router)
	p.Options[optRoutes] = value
	return err
}

// seconds is a time as DHCP has it. All ones mean for ever.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(int64(d/time.Second), 1), 1<<32-1))
}

func addresses(addrs []netip.Addr) ([]byte, error) {
	var out []byte
	for _, a := range addrs {
		if !a.IsValid() {
			continue
		}
		if !a.Is4() {
			return nil, fmt.Errorf("%s is no IPv4 address", a)
		}
		out = append(out, a.AsSlice()...)
	}
	return out, nil
}

// routes makes option 121 (RFC 3442), with a default route by the router unless there is one.
func routes(list []Route, router netip.Addr) ([]byte, error) {
	if router.IsValid() && !slices.ContainsFunc(list, func(r Route) bool { return r.To.Bits() == 0 }) {
		list = append(slices.Clone(list), Route{netip.PrefixFrom(nowhere, 0), router})
	}
	var out []byte
	for _, r := range list {
		if !r.To.IsValid() || !r.To.Addr().Is4() || !r.Via.Is4() {
			return nil, fmt.Errorf("the route to %s via %s is not one of IPv4", r.To, r.Via)
		}
		to := r.To.Masked().Addr().As4()
		out = append(out, byte(r.To.Bits()))
		out = append(out, to[:(r.To.Bits()+7)/8]...)
		out = append(out, r.Via.AsSlice()...)
	}
	return out, nil
}
