package leasefile

import (
	"net/netip"
	"strings"
)

// keaConf reads kea-dhcp4.conf and kea-dhcp6.conf (Kea ARM, "The DHCPv4 Server", "The DHCPv6 Server"). Options and lifetimes of the whole file and of a shared network
// are those of its subnets that have no others.
func keaConf(b *builder, data string) error {
	r := &keaReader{builder: b, subnets: "subnet4"}
	in := &jsonReader{s: data, follow: func(line int, name string) {
		b.note(line, "%s is not followed; write what it has in its place, and give that file", quote("<?include "+name+"?>"))
	}}
	root, err := in.document()
	if err != nil {
		return err
	}
	top := root.get("Dhcp4")
	if six := root.get("Dhcp6"); top.absent && !six.absent {
		r.v6, r.subnets, top = true, "subnet6", six
	}
	if top.kind != '{' {
		return &Error{Line: root.line, Text: "the file has no \"Dhcp4\" and no \"Dhcp6\"; give kea-dhcp4.conf or kea-dhcp6.conf"}
	}
	r.readClasses(top.get("client-classes"))
	all := r.told(top, Subnet{})
	r.reservations(top.get("reservations"))
	for _, s := range top.get(r.subnets).list() {
		r.network(s, all)
	}
	for _, n := range top.get("shared-networks").list() {
		shared := r.told(n, all)
		for _, s := range n.get(r.subnets).list() {
			r.network(s, shared)
		}
		r.rest(n, "name", r.subnets, "option-data", "valid-lifetime", "reservations", "relay")
		r.reservations(n.get("reservations"))
	}
	r.elsewhere(top)
	r.rest(top, r.subnets, "shared-networks", "option-data", "valid-lifetime", "reservations", "lease-database", "hosts-database", "hosts-databases", "client-classes")
	return nil
}

type keaReader struct {
	*builder
	v6      bool
	subnets string // the key of networks
	classes []Class
}

// readClasses reads the classes that Kiln can tell: by what clients say of their vendor, their user class or their firmware.
func (r *keaReader) readClasses(list value) {
	for _, v := range list.list() {
		c, ok := classOf(v.get("name").text, v.get("test").text, v.line)
		if !ok || r.v6 || len(r.classes) >= maxClasses {
			r.note(v.line, "the client class %s is not taken over, because its test is none of a vendor class, a user class or an architecture alone; write it as a class of the subnets (docs/dhcp.md)", quote(v.get("name").text))
			continue
		}
		r.vendorClass = c.VendorClass
		c.Options = r.told(v, Subnet{}).asOptions(v.line)
		r.vendorClass = ""
		r.rest(v, "name", "test", "option-data")
		if len(c.Options) > 0 { // otherwise it tells its clients nothing else
			r.classes = append(r.classes, c)
		}
	}
}

// rest notes the keys that nothing reads.
func (r *keaReader) rest(v value, read ...string) {
	known := map[string]bool{}
	for _, k := range read {
		known[k] = true
	}
	for _, k := range v.keys {
		switch {
		case known[k.text] || k.text == "comment" || k.text == "user-context":
		case k.text == "next-server" || k.text == "boot-file-name" || k.text == "server-hostname":
			r.noteOnce(k.line, "%s is not taken over, because Kiln says itself what machines boot", k.text)
		case strings.HasSuffix(k.text, "-valid-lifetime"):
			r.noteOnce(k.line, "%s is not taken over, because Kiln gives everyone the subnet's lease time", quote(k.text))
		default:
			r.noteOnce(k.line, "%s is not taken over, because nothing in Kiln is like it or it is about Kea itself", quote(k.text))
		}
	}
}

// elsewhere notes what is in another place than this file.
func (r *keaReader) elsewhere(top value) {
	if db := top.get("lease-database"); !db.absent {
		if kind := db.get("type").text; kind == "memfile" {
			name := db.get("name").text
			if name == "" {
				name = "kea-leases4.csv"
			}
			r.note(db.line, "the leases are in %s; give that file, too, and its companions", quote(name))
		} else {
			r.note(db.line, "the leases are in a database (%s); write them to a file with \"kea-admin lease-dump\", and give that", quote(kind))
		}
	}
	for _, key := range []string{"hosts-database", "hosts-databases"} {
		if db := top.get(key); !db.absent {
			r.note(db.line, "reservations are in a database, too (%s), which is not read; write them into the configuration's \"reservations\", and give that", key)
		}
	}
}

// told is what machines are told by v, and otherwise by what is around it.
func (r *keaReader) told(v value, around Subnet) Subnet {
	s := Subnet{Router: around.Router, DNS: around.DNS, NTP: around.NTP, Domain: around.Domain, LeaseTime: around.LeaseTime, Options: around.Options, Relays: around.Relays}
	if life := v.get("valid-lifetime"); !life.absent {
		var ok bool
		if s.LeaseTime, ok = seconds(life.text); !ok || s.LeaseTime == 0 {
			r.note(life.line, "valid-lifetime is %s, which is no number of seconds, so it is left out", quote(life.text))
			s.LeaseTime = around.LeaseTime
		}
	}
	for _, o := range v.get("option-data").list() {
		r.option(o, &s)
	}
	if relay := v.get("relay"); !relay.absent {
		s.Relays = r.relays(relay)
	}
	return s
}

// relays are the agents by which a network is told apart (Kea ARM, "Using a Specific Relay Agent for a Subnet"). Older files have one.
func (r *keaReader) relays(v value) []netip.Addr {
	var out []netip.Addr
	all := v.get("ip-addresses").list()
	if one := v.get("ip-address"); !one.absent {
		all = append(all, one)
	}
	for _, one := range all {
		if a, ok := address(one.text); ok && a.Is6() == r.v6 {
			out = append(out, a)
		} else {
			r.note(one.line, "the relay %s is no address, so it is left out", quote(one.text))
		}
	}
	return out
}

// option takes one of option-data over: by its name or its code (Kea ARM, "Standard DHCPv4 Options").
func (r *keaReader) option(o value, s *Subnet) {
	name := o.get("name").text
	if name == "" {
		name = o.get("code").text
	}
	data := o.get("data").text
	if space := o.get("space").text; space != "" && space != map[bool]string{false: "dhcp4", true: "dhcp6"}[r.v6] {
		r.noteOnce(o.line, "the option %s is not taken over, because it is one of a vendor's (%s)", quote(name), space)
		return
	}
	code, ok := optionCode(r.v6, name)
	if !ok {
		r.noteOnce(o.line, "the option %s is not taken over, because nothing here is called so; give its code and its bytes (\"csv-format\": false)", quote(name))
		return
	}
	if o.get("csv-format").text == "false" {
		r.takeOption(r.v6, code, name, []string{"0x" + strings.ToLower(strings.NewReplacer(" ", "", ":", "", "0x", "").Replace(data))}, o.line, &s.Options)
		return
	}
	texts := strings.Split(data, ",")
	var into *[]netip.Addr
	switch {
	case !r.v6 && code == optionRouter:
		into = &s.Router
	case !r.v6 && code == optionDNS, r.v6 && code == option6DNS:
		into = &s.DNS
	case !r.v6 && code == optionNTP:
		into = &s.NTP
	case !r.v6 && code == optionDomain:
		s.Domain = data
		return
	default:
		r.takeOption(r.v6, code, name, texts, o.line, &s.Options)
		return
	}
	a, ok := addresses(texts)
	if !ok {
		r.note(o.line, "the option %s has %s, of which one is no address, so it is left out", quote(name), quote(data))
		return
	}
	*into = a
}

func (r *keaReader) network(v value, around Subnet) {
	text := v.get("subnet").text
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is6() != r.v6 {
		r.note(v.line, "the subnet %s is no network like %s, so it is left out", quote(text), map[bool]string{false: "192.0.2.0/24", true: "2001:db8::/64"}[r.v6])
		return
	}
	told := r.told(v, around)
	s := r.subnet(v.line, p.Masked())
	s.Router, s.DNS, s.NTP, s.Domain, s.LeaseTime = told.Router, told.DNS, told.NTP, told.Domain, told.LeaseTime
	s.Options, s.Classes = told.Options, r.classes
	for _, a := range told.Relays {
		if !s.Prefix.Contains(a) { // in it is one without being named
			s.Relays = append(s.Relays, a)
		}
	}
	if class := v.get("client-class"); class.text == "KNOWN" || len(v.get("client-classes").list()) == 1 && v.get("client-classes").list()[0].text == "KNOWN" {
		s.KnownOnly = true
	} else if !class.absent || len(v.get("client-classes").list()) > 0 {
		r.note(v.line, "the subnet %s is for some classes of clients only; Kiln gives its addresses to all that are in it", s.Prefix)
	}
	for _, pool := range v.get("pools").list() {
		r.pool(pool, s)
	}
	r.reservations(v.get("reservations"))
	r.rest(v, "id", "subnet", "pools", "option-data", "valid-lifetime", "reservations", "relay", "client-class", "client-classes")
}

// pool reads "a - b" or a prefix.
func (r *keaReader) pool(v value, s *Subnet) {
	text := v.get("pool").text
	r.rest(v, "pool", "pool-id")
	if p, err := netip.ParsePrefix(strings.ReplaceAll(text, " ", "")); err == nil {
		r.addRange(v.line, s, p.Masked().Addr(), lastOf(p))
		return
	}
	low, high, _ := strings.Cut(text, "-")
	from, okFrom := address(low)
	to, okTo := address(high)
	if !okFrom || !okTo || from.Is6() != r.v6 {
		r.note(v.line, "the pool %s is neither two addresses nor a prefix, so it is left out", quote(text))
		return
	}
	r.addRange(v.line, s, from, to)
}

// reservations reads those of a subnet, or those of none (Kea ARM, "Host Reservations in DHCPv4").
func (r *keaReader) reservations(list value) {
	for _, v := range list.list() {
		h := Reservation{Name: v.get("hostname").text, Line: v.line}
		text := v.get("ip-address")
		if all := v.get("ip-addresses").list(); r.v6 && len(all) > 0 {
			if text = all[0]; len(all) > 1 {
				r.note(all[1].line, "the further addresses of a reservation are left out, since a machine has one")
			}
		}
		if !text.absent {
			var ok bool
			if h.Address, ok = address(text.text); !ok || h.Address.Is6() != r.v6 {
				r.note(text.line, "the reservation of %s has no address, so it is left out", quote(text.text))
				continue
			}
		}
		if text := v.get("hw-address"); !text.absent {
			mac, ok := macOf(text.text)
			if !ok {
				r.note(text.line, "the reservation is for %s, which is no machine on Ethernet, so it is left out", quote(text.text))
				continue
			}
			h.MACs = []string{mac}
		} else if text := v.get("duid"); r.v6 && !text.absent {
			id, ok := keaID(text.text)
			mac, known := macOfDUID(id)
			if !ok || !known {
				r.note(text.line, "the DUID %s has no MAC in it, by which machines are known here, so the reservation is left out; write hw-address into it", quote(text.text))
				continue
			}
			h.MACs, h.ClientID = []string{mac}, id
		} else if text := v.get("client-id"); !text.absent {
			var ok bool
			if h.ClientID, ok = keaID(text.text); !ok {
				r.note(text.line, "the client id %s is neither hexadecimal nor in single quotes, so the reservation is left out", quote(text.text))
				continue
			}
		} else {
			by := "nothing"
			for _, key := range []string{"duid", "circuit-id", "flex-id"} {
				if !v.get(key).absent {
					by = key
				}
			}
			r.note(v.line, "the reservation knows its machine by %s, and Kiln by a MAC or a client id only, so it is left out; write hw-address into it", by)
			continue
		}
		r.rest(v, "hostname", "ip-address", "ip-addresses", "hw-address", "client-id", "duid")
		r.reserve(h)
	}
}

// keaID reads an identifier: bytes in hexadecimal, or a text in single quotes.
func keaID(s string) ([]byte, bool) {
	if inner, ok := strings.CutPrefix(s, "'"); ok && strings.HasSuffix(inner, "'") {
		inner = strings.TrimSuffix(inner, "'")
		return []byte(inner), inner != ""
	}
	return idOf(strings.TrimPrefix(s, "0x"))
}
