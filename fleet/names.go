package fleet

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Kinds of templates that a machine or a group may have.
const (
	UserData      = "user-data"
	VendorData    = "vendor-data"
	NetworkConfig = "network-config"
	Ignition      = "ignition"
	MetaData      = "meta-data"
)

// Kinds are the kinds of templates, sorted.
func Kinds() []string { return []string{Ignition, MetaData, NetworkConfig, UserData, VendorData} }

// What a group may say of the way its machines boot.
const (
	BootUKI    = "uki"    // UEFI firmware boots the unified kernel image itself
	BootLoader = "loader" // firmware loads iPXE or PXELINUX where there is one
)

const (
	maxName     = 64 // of a host in Linux (sethostname(2)), and for the rest long enough
	maxLabel    = 63
	maxValue    = 64 << 10
	maxKeyLine  = 16 << 10
	maxSelector = 32
	maxGroups   = 5000 // which for every machine are looked through
)

// MAC is an Ethernet address in the one form that intents have: "52:54:00:12:34:56".
func MAC(s string) (string, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return "", fmt.Errorf("%s is not a MAC address; write it like \"52:54:00:12:34:56\"", quote(s))
	}
	if hw[0]&1 != 0 || slices.Equal(hw, make(net.HardwareAddr, 6)) {
		return "", fmt.Errorf("%s is no machine's MAC address but a group's or nobody's; write that of the network card", quote(s))
	}
	return hw.String(), nil
}

// nobodysUUIDs are what boards say whose maker gave them none, as many machines do (dmidecode and fwupd know them, too).
func nobodysUUIDs() []string {
	return []string{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009",
		"12345678-1234-5678-90ab-cddeefaabbcc", "fefefefe-fefe-fefe-fefe-fefefefefefe"}
}

// UUID is a system's UUID in the one form that intents have: lower case, with dashes.
func UUID(s string) (string, error) {
	low := strings.ToLower(s)
	ok := len(low) == 36
	for i := 0; ok && i < len(low); i++ {
		c := low[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			ok = c == '-'
		} else {
			ok = c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		}
	}
	if !ok {
		return "", fmt.Errorf("%s is not a UUID; write it like \"4c4c4544-0042-3510-8056-b4c04f4a3232\"", quote(s))
	}
	if slices.Contains(nobodysUUIDs(), low) {
		return "", fmt.Errorf("%s is what many boards say that have no UUID of their own; go by the MAC address", quote(s))
	}
	return low, nil
}

// Address is a machine's fixed address with its prefix.
func Address(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("%s is not an IPv4 address with its prefix; write it like \"10.0.0.5/24\"", quote(s))
	}
	a := p.Addr()
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || p.Bits() == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Prefix{}, fmt.Errorf("%s is no address of a machine; write one of its network", quote(s))
	}
	if p.Bits() < 31 && (a == p.Masked().Addr() || a == broadcast(p)) {
		return netip.Prefix{}, fmt.Errorf("%s is the network's own or its broadcast address; write another one of the network", quote(s))
	}
	return p, nil
}

// Address6 is a machine's fixed IPv6 address with its prefix.
func Address6(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is6() || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s is not an IPv6 address with its prefix; write it like \"fd00::5/64\"", quote(s))
	}
	a := p.Addr()
	if !a.IsGlobalUnicast() || p.Bits() == 0 {
		return netip.Prefix{}, fmt.Errorf("%s is no address that a machine can be given; write one of its network", quote(s))
	}
	if p.Bits() < 127 && a == p.Masked().Addr() {
		return netip.Prefix{}, fmt.Errorf("%s is the address of any router of the network; write another one of the network", quote(s)) // RFC 4291 §2.6.1
	}
	return p, nil
}

// address6 is Address6 in the one form that intents have: lower case, with the longest row of zeros left out (RFC 5952).
func address6(s string) (string, error) {
	p, err := Address6(s)
	return p.String(), err
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// hostName checks a host's name (RFC 1123 §2.1).
func hostName(s string) error {
	ok := s != "" && len(s) <= maxName
	for label := range strings.SplitSeq(s, ".") {
		ok = ok && label != "" && label[0] != '-' && label[len(label)-1] != '-' && only(label, "-")
	}
	if !ok {
		return fmt.Errorf("%s is not a host's name; use up to %d letters, digits, \"-\" and \".\"", quote(s), maxName)
	}
	return nil
}

// machineName checks a machine's name: a host's name in lower case, so that a MAC address can never be one.
func machineName(s string) error {
	if strings.ToLower(s) != s || hostName(s) != nil {
		return fmt.Errorf("%s is not a machine's name; use up to %d lower-case letters, digits, \"-\" and \".\", as in \"rack1-web-3\"", quote(s), maxName)
	}
	return nil
}

// objectName checks the name of a group or a release.
func objectName(s string) error {
	if s == "" || len(s) > maxName || !alnum(s[0]) || !only(s, "-_.+") {
		return fmt.Errorf("%s is not a name; use up to %d letters, digits, \"-\", \"_\", \".\" and \"+\", and begin with a letter or digit", quote(s), maxName)
	}
	return nil
}

// valueName checks the name of a value or a secret, which templates write as .Values.name.
func valueName(s string) error {
	if s == "" || len(s) > maxName || s[0] >= '0' && s[0] <= '9' || !only(s, "_") {
		return fmt.Errorf("%s is not the name of a value; use letters, digits and \"_\", and begin with a letter, so that templates can say .Values.name", quote(s))
	}
	return nil
}

func labelKey(s string) error {
	if s == "" || len(s) > maxLabel || !alnum(s[0]) || !alnum(s[len(s)-1]) || !only(s, "-_./") {
		return fmt.Errorf("%s is not a label's key; use up to %d letters, digits, \"-\", \"_\", \".\" and \"/\"", quote(s), maxLabel)
	}
	return nil
}

func labelValue(s string) error {
	if len(s) > maxLabel || !only(s, "-_.") {
		return fmt.Errorf("%s is not a label's value; use up to %d letters, digits, \"-\", \"_\" and \".\", and a value for longer text", quote(s), maxLabel)
	}
	return nil
}

// platform checks what a release has files for.
func platform(s string) error {
	os, arch, ok := strings.Cut(s, "/")
	if !ok || os != "linux" || arch == "" || len(arch) > 16 || !only(arch, "") || strings.ToLower(arch) != arch {
		return fmt.Errorf("%s is not a platform; write it like \"linux/amd64\"", quote(s))
	}
	return nil
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// only says whether s has nothing but letters and digits of ASCII and the bytes of extra.
func only(s, extra string) bool {
	for i := range len(s) {
		if !alnum(s[i]) && strings.IndexByte(extra, s[i]) < 0 {
			return false
		}
	}
	return true
}

// quote quotes s for a message, cut where it would fill the line.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}
