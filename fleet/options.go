package fleet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// optionKind is how people write the value of an option.
type optionKind int

const (
	inHex     optionKind = iota // of options that are not known here
	addresses                   // "10.0.0.1", or a list
	aText
	aFlag
	number8
	number16
	number32
	domains // "lab.example", or a list (RFC 3397)
	routes  // "10.1.0.0/16 10.0.0.2", or a list (RFC 3442)
)

// optionKinds are of the options that operators give: RFC 2132 and IANA's lists.
func optionKinds(v6 bool) map[uint32]optionKind {
	if v6 {
		return map[uint32]optionKind{
			21: domains, 22: addresses, 23: addresses, 24: domains, 27: addresses, 28: addresses, 29: domains, 30: domains, 31: addresses,
			32: number32, 41: aText, 42: aText, 82: number32, 83: number32, 103: aText,
		}
	}
	return map[uint32]optionKind{
		2: number32, 3: addresses, 4: addresses, 5: addresses, 6: addresses, 7: addresses, 8: addresses, 9: addresses, 10: addresses, 11: addresses,
		14: aText, 15: aText, 16: addresses, 17: aText, 19: aFlag, 20: aFlag, 22: number16, 23: number8, 24: number32, 26: number16, 27: aFlag, 28: addresses,
		29: aFlag, 30: aFlag, 31: aFlag, 32: addresses, 34: aFlag, 35: number32, 36: aFlag, 37: number8, 38: number32, 39: aFlag,
		40: aText, 41: addresses, 42: addresses, 44: addresses, 45: addresses, 46: number8, 47: aText, 48: addresses, 49: addresses,
		64: aText, 65: addresses, 66: aText, 67: aText, 68: addresses, 69: addresses, 70: addresses, 71: addresses, 72: addresses, 73: addresses,
		74: addresses, 75: addresses, 76: addresses, 100: aText, 101: aText, 108: number32, 114: aText, 116: number8, 119: domains, 121: routes,
		138: addresses, 150: addresses, 252: aText,
	}
}

const (
	maxOption  = 255 // bytes of a value
	maxOptions = 64
)

// encodeOption makes the bytes of an option of what people write; "0x…" are the bytes of any option.
func encodeOption(v6 bool, code uint32, texts []string) ([]byte, error) {
	kind := optionKinds(v6)[code]
	if h, ok := strings.CutPrefix(texts[0], "0x"); ok && len(texts) == 1 {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%s are no bytes in hex; write two digits for each, as in \"0x0a000001\"", quote(texts[0]))
		}
		return b, nil
	}
	one := map[optionKind]func(bool, string) ([]byte, error){addresses: addressBytes, aText: textBytes, aFlag: flagBytes, number8: number(1), number16: number(2),
		number32: number(4), domains: domainBytes, routes: routeBytes}[kind]
	if one == nil {
		return nil, fmt.Errorf("how option %d is written is not known here; write its bytes in hex, as in \"0x0a000001\"", code)
	}
	if len(texts) > 1 && kind != addresses && kind != domains && kind != routes {
		return nil, fmt.Errorf("option %d has one value and not %d; write one", code, len(texts))
	}
	var all []byte
	for _, s := range texts {
		b, err := one(v6, s)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

func addressBytes(v6 bool, s string) ([]byte, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is6() != v6 || a.Zone() != "" || a.Is4In6() {
		return nil, fmt.Errorf("%s is not an address of the subnet's kind; write one like %q, or several as a list", quote(s), map[bool]string{false: "10.0.0.1", true: "fd00::1"}[v6])
	}
	return a.AsSlice(), nil
}

func textBytes(_ bool, s string) ([]byte, error) {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("%s is empty or holds a control character; write one line, or the bytes in hex", quote(s))
	}
	return []byte(s), nil
}

func flagBytes(_ bool, s string) ([]byte, error) {
	switch s {
	case "true":
		return []byte{1}, nil
	case "false":
		return []byte{0}, nil
	}
	return nil, fmt.Errorf("%s is not true or false; write one of them", quote(s))
}

func number(size int) func(bool, string) ([]byte, error) {
	return func(_ bool, s string) ([]byte, error) {
		n, err := strconv.ParseUint(s, 10, size*8)
		if err != nil {
			return nil, fmt.Errorf("%s is not a whole number of up to %d bits; write one", quote(s), size*8)
		}
		return binary.BigEndian.AppendUint64(nil, n)[8-size:], nil
	}
}

func domainBytes(_ bool, s string) ([]byte, error) {
	if err := domainName(s); err != nil {
		return nil, err
	}
	var out []byte
	for label := range strings.SplitSeq(s, ".") {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0), nil
}

func routeBytes(_ bool, s string) ([]byte, error) {
	to, by, _ := strings.Cut(s, " ")
	p, err := netip.ParsePrefix(to)
	router, err2 := netip.ParseAddr(strings.TrimSpace(by))
	if err != nil || err2 != nil || !p.Addr().Is4() || !router.Is4() || p != p.Masked() {
		return nil, fmt.Errorf("%s is no route; write the network and its router, as in \"10.1.0.0/16 10.0.0.2\"", quote(s))
	}
	out := append([]byte{byte(p.Bits())}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
	return append(out, router.AsSlice()...), nil
}

// OptionTexts is the value of an option as people write it, in hex when there is no other way.
func OptionTexts(v6 bool, code uint32, value []byte) []string {
	texts, err := decodeOption(v6, optionKinds(v6)[code], value)
	if err == nil && len(texts) > 0 {
		if again, err := encodeOption(v6, code, texts); err == nil && bytes.Equal(again, value) {
			return texts
		}
	}
	return []string{"0x" + hex.EncodeToString(value)}
}

var errOption = errors.New("not of its kind")

func decodeOption(v6 bool, kind optionKind, b []byte) (out []string, err error) {
	switch kind {
	case addresses:
		size := 4
		if v6 {
			size = 16
		}
		for ; len(b) >= size; b = b[size:] {
			a, _ := netip.AddrFromSlice(b[:size])
			out = append(out, a.String())
		}
	case aText:
		return []string{string(b)}, nil
	case aFlag:
		return []string{strconv.FormatBool(len(b) == 1 && b[0] == 1)}, nil
	case number8, number16, number32:
		var n uint64
		for _, c := range b[:min(len(b), 4)] {
			n = n<<8 | uint64(c)
		}
		return []string{strconv.FormatUint(n, 10)}, nil
	case domains:
		var labels []string
		for len(b) > 0 {
			n := int(b[0])
			if n >= len(b) {
				return nil, errOption
			}
			if b = b[1:]; n == 0 {
				out, labels = append(out, strings.Join(labels, ".")), nil
				continue
			}
			labels, b = append(labels, string(b[:n])), b[n:]
		}
	case routes:
		for len(b) > 0 {
			n := (int(b[0]) + 7) / 8
			if b[0] > 32 || len(b) < 1+n+4 {
				return nil, errOption
			}
			var to [4]byte
			copy(to[:], b[1:1+n])
			by, _ := netip.AddrFromSlice(b[1+n : 5+n])
			out = append(out, fmt.Sprintf("%s %s", netip.PrefixFrom(netip.AddrFrom4(to), int(b[0])), by))
			b = b[5+n:]
		}
	}
	return out, nil
}

// optionRefused says why an option is not the operator's to give.
func optionRefused(v6 bool, code uint32, vendorClass string) error {
	const own = "option %d is the server's own to say; %s"
	remedy := "leave it out"
	if v6 {
		switch code {
		case 59, 60, 61, 62:
			remedy = "what machines boot is that of their groups"
		case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 25, 26, 39:
		default:
			return nil
		}
		return fmt.Errorf(own, code, remedy)
	}
	switch code {
	case 43, 60, 66, 67:
		if vendorClass != "" && !strings.HasPrefix("PXEClient", vendorClass) && !strings.HasPrefix(vendorClass, "PXEClient") &&
			!strings.HasPrefix("HTTPClient", vendorClass) && !strings.HasPrefix(vendorClass, "HTTPClient") {
			return nil
		}
		remedy = "what machines boot is that of their groups, and what other devices do goes into a class with their vendor_class"
	case 1:
		remedy = "it follows from the prefix"
	case 12:
		remedy = "give machines a hostname"
	case 51, 58, 59:
		remedy = "write the time as \"lease\""
	case 0, 50, 52, 53, 54, 55, 56, 57, 61, 77, 80, 81, 82, 90, 91, 92, 93, 94, 97, 118, 175, 255:
	default:
		if code < 256 {
			return nil
		}
		return fmt.Errorf("there is no option %d; they go up to 254", code)
	}
	return fmt.Errorf(own, code, remedy)
}

// EncodeOption makes the bytes of an option of what people write, for clients whose vendor class begins with vendorClass; "": all. The
// error says why it is not the operator's to give, or not of its kind.
func EncodeOption(v6 bool, code uint32, vendorClass string, texts []string) ([]byte, error) {
	if err := optionRefused(v6, code, vendorClass); err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("option %d has no value; write one", code)
	}
	return encodeOption(v6, code, texts)
}

// OptionTakesList says whether an option has a list of values.
func OptionTakesList(v6 bool, code uint32) bool {
	switch optionKinds(v6)[code] {
	case addresses, domains, routes:
		return true
	}
	return false
}
