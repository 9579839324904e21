package leasefile

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/kiln-farm/kiln/fleet"
)

// Option is one that machines are told beside those that have a field of their own. Its values are as descriptions have them; "0x…"
// are its bytes.
type Option struct {
	Code   uint32
	Values []string
	Line   int
}

// put replaces the option of that number, or adds it.
func put(all []Option, o Option) []Option {
	out := make([]Option, 0, len(all)+1)
	for _, one := range all {
		if one.Code != o.Code {
			out = append(out, one)
		}
	}
	return append(out, o)
}

// add adds what is not there yet.
func add(all, more []Option) []Option {
	for _, o := range more {
		there := false
		for _, one := range all {
			there = there || one.Code == o.Code
		}
		if !there {
			all = append(all, o)
		}
	}
	return all
}

// optionNames are what dhcpd (dhcp-options(5)) and Kea (Kea ARM, "Standard DHCPv4 Options") call options that Kiln knows, and dnsmasq
// ("dnsmasq --help dhcp").
func optionNames(v6 bool) map[string]uint32 {
	if v6 {
		return map[string]uint32{
			"dns-servers": 23, "name-servers": 23, "dns-server": 23, "domain-search": 24, "nis-servers": 27, "nisp-servers": 28, "nis-domain-name": 29, "nisp-domain-name": 30,
			"sntp-servers": 31, "sntp-server": 31, "information-refresh-time": 32, "info-refresh-time": 32, "new-posix-timezone": 41, "new-tzdb-timezone": 42,
			"sip-server-addr": 22, "sip-servers-addresses": 22, "sip-server-dns": 21, "sip-servers-names": 21, "v6-captive-portal": 103,
		}
	}
	return map[string]uint32{
		"time-offset": 2, "routers": 3, "router": 3, "time-servers": 4, "name-servers": 5, "ien116-name-servers": 5, "domain-name-servers": 6, "dns-server": 6, "log-servers": 7, "log-server": 7,
		"cookie-servers": 8, "lpr-servers": 9, "lpr-server": 9, "impress-servers": 10, "resource-location-servers": 11, "merit-dump": 14, "domain-name": 15, "swap-server": 16,
		"root-path": 17, "ip-forwarding": 19, "ip-forward-enable": 19, "non-local-source-routing": 20, "max-dgram-reassembly": 22, "default-ip-ttl": 23, "interface-mtu": 26, "mtu": 26,
		"all-subnets-local": 27, "all-subnets": 27, "broadcast-address": 28, "broadcast": 28, "router-discovery": 31, "router-solicitation-address": 32,
		"trailer-encapsulation": 34, "arp-cache-timeout": 35, "arp-timeout": 35, "ieee802-3-encapsulation": 36, "default-tcp-ttl": 37, "tcp-ttl": 37, "tcp-keepalive-interval": 38,
		"tcp-keepalive-garbage": 39, "nis-domain": 40, "nis-servers": 41, "nis-server": 41, "ntp-servers": 42, "ntp-server": 42, "netbios-name-servers": 44, "netbios-ns": 44,
		"netbios-dd-server": 45, "netbios-dd": 45, "netbios-node-type": 46, "netbios-nodetype": 46, "netbios-scope": 47, "font-servers": 48, "x-windows-fs": 48,
		"x-display-manager": 49, "x-windows-dm": 49, "nisplus-domain-name": 64, "nis+-domain": 64, "nisplus-servers": 65, "nis+-server": 65, "tftp-server-name": 66, "tftp-server": 66,
		"boot-file-name": 67, "bootfile-name": 67, "mobile-ip-home-agent": 68, "mobile-ip-home": 68, "smtp-server": 69, "pop-server": 70, "pop3-server": 70, "nntp-server": 71,
		"www-server": 72, "finger-server": 73, "irc-server": 74, "streettalk-server": 75, "pcode": 100, "tcode": 101, "v6-only-preferred": 108, "v4-captive-portal": 114, "default-url": 114,
		"auto-config": 116, "domain-search": 119, "classless-static-route": 121, "capwap-ac-v4": 138, "tftp-servers": 150,
	}
}

// optionCode is the number of an option by its name or number.
func optionCode(v6 bool, name string) (uint32, bool) {
	if n, err := strconv.ParseUint(name, 10, 16); err == nil && n > 0 {
		return uint32(n), true
	}
	code, ok := optionNames(v6)[strings.ToLower(name)]
	return code, ok
}

// optionOf makes an option of the texts that a file has for it, or says why not.
func optionOf(v6 bool, code uint32, vendorClass string, texts []string, line int) (Option, error) {
	o := Option{Code: code, Line: line}
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			o.Values = append(o.Values, t)
		}
	}
	if !fleet.OptionTakesList(v6, code) && len(o.Values) > 1 {
		o.Values = []string{strings.Join(o.Values, ",")}
	}
	switch {
	case code == 121 && !v6: // "10.0.0.0/8 - 192.0.2.1" of Kea, and pairs of dnsmasq
		o.Values = routesOf(o.Values)
	case len(o.Values) == 1 && (o.Values[0] == "on" || o.Values[0] == "off"): // dhcpd's flags
		if _, err := fleet.EncodeOption(v6, code, vendorClass, []string{"true"}); err == nil {
			o.Values[0] = map[string]string{"on": "true", "off": "false"}[o.Values[0]]
		}
	}
	_, err := fleet.EncodeOption(v6, code, vendorClass, o.Values)
	return o, err
}

// routesOf are routes as descriptions have them, a network and its router each.
func routesOf(texts []string) []string {
	var out []string
	for i := 0; i < len(texts); i++ {
		to, by, ok := strings.Cut(strings.ReplaceAll(texts[i], " - ", " "), " ")
		if !ok && i+1 < len(texts) {
			i++
			by = texts[i]
		}
		if _, err := netip.ParseAddr(to); err == nil {
			to += "/32"
		}
		out = append(out, to+" "+strings.TrimSpace(by))
	}
	return out
}

// takeOption is the option that a file has, with the reason when it is not taken over.
func (b *builder) takeOption(v6 bool, code uint32, name string, texts []string, line int, into *[]Option) {
	o, err := optionOf(v6, code, b.vendorClass, texts, line)
	if err != nil {
		b.noteOnce(line, "the option %s is not taken over: %s", quote(name), err)
		return
	}
	*into = put(*into, o)
}

// macOfDUID is the MAC in a DUID of an Ethernet card (RFC 8415 §11.2, §11.4).
func macOfDUID(id []byte) (string, bool) {
	at := map[byte]int{1: 8, 3: 4}
	if len(id) < 4 || id[0] != 0 || id[2] != 0 || id[3] != 1 || at[id[1]] == 0 || len(id) != at[id[1]]+6 {
		return "", false
	}
	var parts []string
	for _, c := range id[at[id[1]]:] {
		parts = append(parts, strconv.FormatUint(uint64(c)|0x100, 16)[1:])
	}
	return macOf(strings.Join(parts, ":"))
}
