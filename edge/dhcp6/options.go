package dhcp6

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp"
)

// options adds what belongs to an answer beside addresses: what to boot, and then what the client asks for.
func (c Client) options(m *dhcpv6.Message, plan Plan) error {
	if err := c.boot(m, plan.Boot); err != nil {
		return err
	}
	for _, o := range []struct {
		code  dhcpv6.OptionCode
		value func() ([]byte, error)
	}{
		{dhcpv6.OptionDNSRecursiveNameServer, func() ([]byte, error) { return addresses(plan.DNS, nil) }},
		{dhcpv6.OptionDomainSearchList, func() ([]byte, error) { return labels(plan.Domains) }},
		{dhcpv6.OptionSNTPServerList, func() ([]byte, error) { return addresses(plan.NTP, nil) }},
		{dhcpv6.OptionNTPServer, func() ([]byte, error) { return addresses(plan.NTP, []byte{0, 1, 0, 16}) }}, // RFC 5908 §4.1
	} {
		if !slices.Contains(c.Wants, o.code) || plan.Options[uint16(o.code)] != nil {
			continue
		}
		value, err := o.value()
		if err != nil {
			return fmt.Errorf("option %d: %w", o.code, err)
		}
		if len(value) > 0 {
			m.AddOption(raw(o.code, value))
		}
	}
	for _, code := range slices.Sorted(maps.Keys(plan.Options)) {
		if slices.Contains(c.Wants, dhcpv6.OptionCode(code)) && m.Options.GetOne(dhcpv6.OptionCode(code)) == nil {
			m.AddOption(raw(dhcpv6.OptionCode(code), plan.Options[code]))
		}
	}
	return nil
}

// boot says what to boot. iPXE of before 2020 does not ask for the URL and takes it nevertheless.
func (c Client) boot(m *dhcpv6.Message, b Boot) error {
	if b.URL == "" || c.Kind == dhcp.Plain && !slices.Contains(c.Wants, dhcpv6.OptionBootfileURL) {
		return nil
	}
	if err := checkURL(b.URL); err != nil {
		return err
	}
	m.AddOption(raw(dhcpv6.OptionBootfileURL, []byte(b.URL)))
	if len(b.Params) > 0 {
		m.AddOption(dhcpv6.OptBootFileParam(b.Params...))
	}
	switch c.Kind {
	case dhcp.UEFIHTTP:
		// EDK2 takes an answer for its own by this, and reads the URL up to the next zero byte, which the code of this option
		// begins with. PXE clients must not have it: EDK2 would ask again on port 4011 then.
		class := make([]byte, 4, 16)
		binary.BigEndian.PutUint32(class, c.Maker)
		m.AddOption(raw(dhcpv6.OptionVendorClass, append(append(class, 0, byte(len(classHTTP))), classHTTP...)))
	case dhcp.UEFI:
		if !strings.HasPrefix(b.URL, "tftp://[") {
			return fmt.Errorf("the boot file URL %q is none for UEFI's PXE, which fetches tftp://[ADDRESS]/FILE", b.URL)
		}
	}
	return nil
}

// longestURL is what boot programs have room for, in bytes.
const longestURL = 512

func checkURL(url string) error {
	if len(url) > longestURL {
		return fmt.Errorf("the boot file URL has %d bytes, more than %d; make it shorter", len(url), longestURL)
	}
	for i := range len(url) {
		if url[i] <= ' ' || url[i] > '~' {
			return fmt.Errorf("the boot file URL %q has bytes that are not printable ASCII; escape them", url)
		}
	}
	return nil
}

// addresses are IPv6 addresses, each behind a head.
func addresses(list []netip.Addr, head []byte) ([]byte, error) {
	var out []byte
	for _, a := range list {
		if a.Is4() || a.Is4In6() {
			continue // DHCPv6 can name none; a machine's name servers are of both kinds
		}
		if !a.IsValid() || a.Zone() != "" {
			return nil, fmt.Errorf("%s is no IPv6 address", a)
		}
		out = append(append(out, head...), a.AsSlice()...)
	}
	return out, nil
}

// labels are names as DNS writes them (RFC 8415 §10).
func labels(names []string) ([]byte, error) {
	var out []byte
	for _, name := range names {
		for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
			if label == "" || len(label) > 63 {
				return nil, fmt.Errorf("%q is no domain's name", name)
			}
			out = append(append(out, byte(len(label))), label...)
		}
		out = append(out, 0)
	}
	return out, nil
}
