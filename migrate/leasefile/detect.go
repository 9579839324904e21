package leasefile

import (
	"path"
	"strconv"
	"strings"
)

// maxLook is how much of a file Detect looks at, in bytes, and maxStatements how many statements or lines: some begin with
// long comments.
const (
	maxLook       = 256 << 10
	maxStatements = 200
)

// Detect says of which kind a file is, by what is in it. The name, which may have folders, only tells files apart that have
// nothing but comments.
func Detect(name string, data []byte) (Kind, bool) {
	whole := len(data) <= maxLook
	s := withoutMark(string(data[:min(len(data), maxLook)]))
	if strings.ContainsRune(s, 0) {
		return "", false
	}
	if !whole { // without the last line, which may be half of one
		s = s[:strings.LastIndexByte(s, '\n')+1]
	}
	first := firstLine(s)
	switch {
	case first == "":
		return byName(name, s)
	case strings.HasPrefix(first, "address,") && strings.Contains(first, ",valid_lifetime,"):
		return KeaLeases, true
	case strings.HasPrefix(first, "{") || strings.HasPrefix(first, "/*") || strings.HasPrefix(first, "//"):
		if strings.Contains(s, `"Dhcp4"`) || strings.Contains(s, `"Dhcp6"`) {
			return KeaConf, true
		}
		return "", false
	case dnsmasqLeaseLine(first):
		return DnsmasqLeases, true
	}
	if kind, ok := iscKind(s); ok {
		return kind, true
	}
	return dnsmasqKind(s)
}

// firstLine is the first that is neither empty nor a comment as all of the formats have it.
func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}

// byName tells files without anything in them apart: those of leases begin like that.
func byName(name, s string) (Kind, bool) {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	switch {
	case strings.Contains(s, "dhcpd.leases(5)") || strings.HasPrefix(base, "dhcpd.leases"):
		return ISCLeases, true
	case base == "dhcpd.conf":
		return ISCConf, true
	case base == "dnsmasq.leases":
		return DnsmasqLeases, true
	case base == "dnsmasq.conf":
		return DnsmasqConf, true
	}
	return "", false
}

// dnsmasqLeaseLine knows "duid 00:01:…" and lines of leases, whose first word is a time and whose third is an address.
func dnsmasqLeaseLine(line string) bool {
	f := strings.Fields(line)
	if len(f) == 2 && f[0] == "duid" {
		_, ok := octets(f[1])
		return ok
	}
	if len(f) < 4 {
		return false
	}
	_, err := strconv.ParseUint(f[0], 10, 63)
	_, ok := address(f[2])
	return err == nil && ok
}

// iscKind looks for the first statement that only one of dhcpd's files has.
func iscKind(s string) (Kind, bool) {
	c := &iscScanner{s: s, line: 1}
	like := false // it may be dhcpd.conf
	for range maxStatements {
		st, err := c.next()
		if err != nil || st.end == 0 {
			break
		}
		if iscJournalWord(st) {
			return ISCLeases, true
		}
		switch strings.ToLower(st.word(0)) {
		case "subnet", "shared-network", "subnet6":
			return ISCConf, st.end == '{'
		case "group", "host", "class", "pool", "if", "failover", "zone", "key":
			if st.end == '{' {
				if like = true; c.skip() != nil {
					return ISCConf, true
				}
			}
		case "option", "authoritative", "default-lease-time", "max-lease-time", "min-lease-time", "ddns-update-style", "deny", "allow", "include", "log-facility", "not":
			like = true
		default:
			if st.end == '{' && c.skip() != nil {
				return "", false
			}
		}
	}
	return ISCConf, like
}

// dnsmasqKind knows lines of a configuration and of a file of hosts.
func dnsmasqKind(s string) (Kind, bool) {
	words, hosts, lines := 0, 0, 0
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if lines++; lines > maxStatements {
			break
		}
		first, rest, more := strings.Cut(line, ",")
		if _, mac := octets(first); more && rest != "" && (mac && strings.Contains(first, ":") || strings.HasPrefix(first, "id:")) {
			hosts++
		}
		key, fields := dnsmasqLine(line, true)
		if !dnsmasqWord(key) || strings.ContainsAny(line[len(line)-1:], "{}") {
			continue
		}
		if fields != nil || dnsmasqFlag(key) {
			words++
		}
	}
	switch {
	case hosts > 0 && hosts*2 > lines:
		return DnsmasqHosts, true
	case words > 0 && words == min(lines, maxStatements) && strings.Contains(s, "dhcp-"):
		return DnsmasqConf, true
	}
	return "", false
}

// dnsmasqFlag says whether a line may be only that word (dnsmasq(8)).
func dnsmasqFlag(key string) bool {
	for _, prefix := range []string{"dhcp-", "no-", "log-", "bind-", "enable-", "tftp-", "read-ethers", "expand-hosts", "domain-needed",
		"bogus-priv", "strict-order", "all-servers", "localise-queries", "stop-dns-rebind", "filterwin2k", "dnssec", "proxy-dnssec", "keep-in-foreground"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
