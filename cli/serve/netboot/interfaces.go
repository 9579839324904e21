package netboot

import (
	"net"
	"net/netip"

	"github.com/kiln-farm/kiln/cli/ui"
)

// interfaceAddress is the first IPv4 address of an interface.
func interfaceAddress(name string) (net.IP, error) {
	networks, err := interfaceNetworks(name)
	if err != nil {
		return nil, err
	}
	if len(networks) == 0 {
		return nil, ui.Usagef("--interface %s: it has no IPv4 address, from which machines could boot: give it one", name)
	}
	return networks[0].Addr().AsSlice(), nil
}

// interfaceNetworks are the IPv4 addresses of an interface, with their networks, without those of the link alone, among which an
// edge's metadata address is.
func interfaceNetworks(name string) ([]netip.Prefix, error) {
	return interfacePrefixes(name, func(a netip.Addr) bool { return a.Is4() && !a.IsLinkLocalUnicast() })
}

// interfaceNetworks6 are the IPv6 addresses of an interface with their prefixes, without those of the link alone.
func interfaceNetworks6(name string) ([]netip.Prefix, error) {
	all, err := interfacePrefixes(name, func(a netip.Addr) bool { return a.Is6() && a.IsGlobalUnicast() })
	if err == nil && len(all) == 0 {
		err = ui.Usagef("--interface %s: it has no IPv6 address beside that of the link, from which machines could boot: give it one, or leave --dhcp6 off", name)
	}
	return all, err
}

// interfacePrefixes are those addresses of an interface that are wanted, with their networks, in the kernel's order.
func interfacePrefixes(name string, wanted func(netip.Addr) bool) ([]netip.Prefix, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, ui.Usagef("--interface %s: there is no such interface", name)
	}
	addresses, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && wanted(p.Addr()) {
			all = append(all, p)
		}
	}
	return all, nil
}
