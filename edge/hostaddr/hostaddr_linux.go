package hostaddr

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// find is an address of an interface; nil: it has it not.
func find(name string, a netip.Addr) (netlink.Link, *netlink.Addr, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("interface %s: %w", name, err)
	}
	all, err := netlink.AddrList(link, unix.AF_INET)
	if err != nil {
		return nil, nil, fmt.Errorf("the addresses of interface %s: %w", name, err)
	}
	for i := range all {
		if all[i].IP.Equal(a.AsSlice()) {
			return link, &all[i], nil
		}
	}
	return link, nil, nil
}

// ours says whether an address ends by itself, as none does that a person gave.
func ours(a *netlink.Addr) bool { return a.ValidLft > 0 && a.ValidLft < math.MaxUint32 }

// give gives an interface an address for Lifetime, unless it has it without an end. The kernel never sends from it by itself: its
// scope is the link.
func give(name string, a netip.Addr) error {
	link, has, err := find(name, a)
	if err != nil || has != nil && !ours(has) {
		return err
	}
	seconds := int(Lifetime / time.Second)
	err = netlink.AddrReplace(link, &netlink.Addr{
		IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}, Scope: unix.RT_SCOPE_LINK, ValidLft: seconds, PreferedLft: seconds,
	})
	if err != nil {
		return fmt.Errorf("give %s to interface %s: %w", a, name, err)
	}
	return nil
}

// take takes an address from an interface when it was given here.
func take(name string, a netip.Addr) error {
	link, has, err := find(name, a)
	if err != nil || has == nil || !ours(has) {
		return err
	}
	if err := netlink.AddrDel(link, has); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return nil
}

// Listen listens at an address that the host does not have yet, or not all the time.
func Listen(ctx context.Context, network, at string) (net.Listener, error) {
	config := &net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		control := conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
		return errors.Join(control, err)
	}}
	return config.Listen(ctx, network, at)
}

// Elsewhere is the interface by which the host reaches an address of somebody else's, as a virtual machine in a cloud reaches that
// cloud's; "": none.
func Elsewhere(a netip.Addr, own []string) string {
	to := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
	all, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Dst: to, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil {
		return ""
	}
	for _, r := range all {
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue
		}
		name := link.Attrs().Name
		for _, o := range own {
			if o == name {
				name = ""
			}
		}
		if name != "" {
			return name
		}
	}
	return ""
}
