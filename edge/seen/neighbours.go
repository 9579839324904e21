package seen

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
)

// arpTable is where Linux tells which hardware address a neighbour has (proc_net(5)). It is of this process's network namespace.
const arpTable = "/proc/net/arp"

// neighbour finds an address in the table: the hardware address that answers for it, and the interface.
func neighbour(table string, a netip.Addr) (mac, device string, ok bool) {
	const complete = 2 // ATF_COM of the flags
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) != 6 || f[0] != a.String() {
			continue
		}
		flags, err := strconv.ParseUint(f[2], 0, 16)
		if err != nil || flags&complete == 0 {
			continue
		}
		if hw, err := net.ParseMAC(f[3]); err == nil && len(hw) == 6 {
			return hw.String(), f[5], true
		}
	}
	return "", "", false
}

// onLink is the address of a neighbour with the prefix of the interface that it is at.
func onLink(device string, a netip.Addr) (netip.Prefix, bool) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return netip.Prefix{}, false
	}
	all, err := i.Addrs()
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, one := range all {
		if p, err := netip.ParsePrefix(one.String()); err == nil && p.Contains(a) {
			return netip.PrefixFrom(a, p.Bits()), true
		}
	}
	return netip.Prefix{}, false
}

// Fetched notes that a machine boots when the one that fetched its unified kernel image has its MAC.
func (m *Machines) Fetched(mac string, by netip.Addr, until time.Time) {
	table, err := os.ReadFile(arpTable)
	if err != nil {
		return
	}
	if has, _, ok := neighbour(string(table), by); ok && has == mac {
		m.Boots(mac, until)
	}
}

// beside is a machine that has its address from another server: the MAC that answers for the address at this moment, when the
// firmware of that MAC was heard here. It is enough for what is public, and never for secrets, as nobody gave the address here.
func (m *Machines) beside(a netip.Addr) (config.Binding, bool) {
	if !a.Is4() {
		return config.Binding{}, false
	}
	table, err := os.ReadFile(arpTable)
	if err != nil { // not on Linux
		return config.Binding{}, false
	}
	mac, device, ok := neighbour(string(table), a)
	if !ok {
		return config.Binding{}, false
	}
	until, booting := m.Booting(mac)
	address, near := onLink(device, a)
	if !booting || !near {
		return config.Binding{}, false
	}
	return config.Binding{MAC: mac, Address: address, Window: until}, true
}
