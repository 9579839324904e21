package leasefile

import (
	"net/netip"
	"strings"
)

// iscHost is a host declaration (dhcpd.conf(5), "The host statement"), in dhcpd.conf or in the journal.
type iscHost struct {
	line      int
	name      string // of the declaration
	mac       string
	hardware  string // that is not Ethernet
	id        []byte
	hostName  string // that the machine is told
	addresses []netip.Addr
	names     []string // that stand where an address could
	others    []string // statements that are not taken over
}

// statement takes one of the block's statements over, if it can.
func (h *iscHost) statement(st iscStatement) {
	switch {
	case st.is("hardware"):
		var ok bool
		if h.mac, ok = macOf(st.word(2)); !ok || !st.is("hardware", "ethernet") {
			h.mac, h.hardware = "", st.word(1)+" "+st.word(2)
		}
	case st.is("fixed-address"):
		for _, text := range st.texts(1) {
			if a, ok := address(text); ok && a.Is4() {
				h.addresses = append(h.addresses, a)
			} else {
				h.names = append(h.names, text)
			}
		}
	case st.is("fixed-address6"):
		for _, text := range st.texts(1) {
			if a, ok := address(text); ok && a.Is6() {
				h.addresses = append(h.addresses, a)
			} else {
				h.names = append(h.names, text)
			}
		}
	case st.is("host-identifier", "option", "dhcp6.client-id") && len(st.words) > 3:
		h.id, _ = iscID(st.words[3])
		if mac, ok := macOfDUID(h.id); ok && h.mac == "" {
			h.mac = mac
		}
	case st.is("option", "dhcp-client-identifier") && len(st.words) > 2:
		h.id, _ = iscID(st.words[2])
	case st.is("uid") && len(st.words) > 1:
		h.id, _ = iscID(st.words[1])
	case st.is("option", "host-name"):
		h.hostName = st.word(2)
	case st.is("dynamic") || st.is("deleted"):
		// Of a journal: how the host came to be, not what it is.
	default:
		if len(h.others) < 3 {
			h.others = append(h.others, st.head())
		}
	}
}

// reserve makes reservations of the host: one for each address, of which a machine gets the one of the network it is in.
func (h *iscHost) reserve(b *builder) {
	r := Reservation{ClientID: h.id, Name: h.hostName, Line: h.line}
	if r.Name == "" {
		r.Name = h.name
	}
	if h.mac != "" {
		r.MACs = []string{h.mac}
	}
	if h.hardware != "" {
		b.note(h.line, "the host %s has the hardware %s, which is no machine on Ethernet, so that is left out", quote(h.name), quote(h.hardware))
	}
	if len(h.names) > 0 {
		b.note(h.line, "the host %s has the fixed address %s, which is a name; write the address that it stands for", quote(h.name), quote(h.names[0]))
	}
	if len(h.others) > 0 {
		b.note(h.line, "the host %s has %s, which is not taken over, because a reservation is an address and a name only", quote(h.name), strings.Join(h.others, ", "))
	}
	if r.MACs == nil && len(r.ClientID) == 0 {
		if h.hardware == "" {
			b.note(h.line, "the host %s has neither a hardware address nor a client id, so it is left out", quote(h.name))
		}
		return
	}
	if len(h.addresses) == 0 {
		b.reserve(r)
	}
	for _, a := range h.addresses {
		r.Address = a
		b.reserve(r)
	}
}
