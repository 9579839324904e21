package migrate

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/migrate/leasefile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Config becomes a description of what an old server gave.
type Config struct {
	File     string // that is read
	subnets  []*kilnv1.Subnet
	byPrefix map[netip.Prefix]*kilnv1.Subnet
	machines []*kilnv1.Machine
	names    map[string]bool
	byMAC    map[string]*kilnv1.Machine
	waiting  []oldReservation // until all subnets are known
	remarks  []Remark
}

func NewConfig() *Config {
	return &Config{byPrefix: map[netip.Prefix]*kilnv1.Subnet{}, names: map[string]bool{}, byMAC: map[string]*kilnv1.Machine{}}
}

type oldReservation struct {
	leasefile.Reservation
	file string
}

func (o *Config) say(line int, format string, args ...any) {
	o.remarks = append(o.remarks, Remark{o.File, line, fmt.Sprintf(format, args...)})
}

func (o *Config) Add(f *leasefile.File) {
	for _, n := range f.Notes {
		o.remarks = append(o.remarks, Remark{o.File, n.Line, n.Text})
	}
	for _, s := range f.Subnets {
		o.subnet(s)
	}
	for _, r := range f.Reservations {
		o.waiting = append(o.waiting, oldReservation{r, o.File})
	}
}

func (o *Config) subnet(in leasefile.Subnet) {
	prefix := in.Prefix.Masked()
	s := o.byPrefix[prefix]
	if s == nil {
		s = &kilnv1.Subnet{Name: "net-" + strings.NewReplacer("/", "-", ":", "-").Replace(prefix.String()), Prefix: prefix.String()}
		o.byPrefix[prefix], o.subnets = s, append(o.subnets, s)
	}
	for _, r := range in.Ranges {
		s.Pools = append(s.Pools, &kilnv1.AddressRange{From: r.From.String(), To: r.To.String()})
	}
	for n, router := range in.Router {
		switch {
		case n > 0 || s.Gateway != "":
			o.say(in.Line, "the router %s is left out, since a subnet has one gateway", router)
		case !prefix.Contains(router) && !router.IsLinkLocalUnicast():
			o.say(in.Line, "the router %s is left out, since it is not in %s", router, prefix)
		default:
			s.Gateway = router.String()
		}
	}
	servers := func(into *[]string, what string, all []netip.Addr) {
		for _, a := range all {
			switch {
			case a.BitLen() != prefix.Addr().BitLen():
				o.say(in.Line, "the %s %s is left out, since it is not of the kind of %s", what, a, prefix)
			case !slices.Contains(*into, a.String()):
				*into = append(*into, a.String())
			}
		}
	}
	servers(&s.Dns, "name server", in.DNS)
	servers(&s.Ntp, "time server", in.NTP)
	if s.Domain == "" {
		s.Domain = in.Domain
	}
	for _, opt := range in.Options {
		value, err := fleet.EncodeOption(prefix.Addr().Is6(), opt.Code, "", opt.Values)
		switch {
		case err != nil:
			o.say(opt.Line, "option %d is left out: %s", opt.Code, err)
		case !slices.ContainsFunc(s.Options, func(one *kilnv1.DHCPOption) bool { return one.GetCode() == opt.Code }):
			s.Options = append(s.Options, &kilnv1.DHCPOption{Code: opt.Code, Value: value})
		}
	}
	slices.SortFunc(s.Options, func(a, b *kilnv1.DHCPOption) int { return int(a.GetCode()) - int(b.GetCode()) })
	for _, class := range in.Classes {
		c := &kilnv1.ClientClass{Name: class.Name, VendorClass: class.VendorClass, UserClass: class.UserClass, Arch: class.Arch}
		for _, opt := range class.Options {
			if value, err := fleet.EncodeOption(false, opt.Code, class.VendorClass, opt.Values); err == nil {
				c.Options = append(c.Options, &kilnv1.DHCPOption{Code: opt.Code, Value: value})
			} else {
				o.say(opt.Line, "option %d of class %s is left out: %s", opt.Code, class.Name, err)
			}
		}
		if !slices.ContainsFunc(s.Classes, func(one *kilnv1.ClientClass) bool { return one.GetName() == c.GetName() }) {
			s.Classes = append(s.Classes, c)
		}
	}
	for _, a := range in.Relays {
		if !slices.Contains(s.Relays, a.String()) {
			s.Relays = append(s.Relays, a.String())
		}
	}
	s.KnownOnly = s.KnownOnly || in.KnownOnly
	switch {
	case in.LeaseTime == leasefile.Forever || in.LeaseTime > endless:
		s.LeaseSeconds = uint32(endless / time.Second)
		o.say(in.Line, "leases that do not end are not given here; it is a year")
	case in.LeaseTime > 0:
		s.LeaseSeconds = uint32(in.LeaseTime / time.Second)
	}
}

// reservation makes a machine of what has a MAC.
func (o *Config) reservation(r oldReservation, networks fleet.Networks) {
	o.File = r.file
	var macs []string
	for _, text := range r.MACs {
		if mac, err := fleet.MAC(text); err == nil {
			macs = append(macs, mac)
		} else {
			o.say(r.Line, "%s", err)
		}
	}
	if len(macs) == 0 {
		o.say(r.Line, "the reservation of %s is left out, since it has no MAC, by which machines are known here", nameOrAddress(r))
		return
	}
	m := o.byMAC[macs[0]]
	if m == nil {
		m = &kilnv1.Machine{Name: o.name(r.Name, macs[0])}
		if r.Name != "" && r.Name != m.Name && len(fleet.Check(&kilnv1.Intent{Machines: []*kilnv1.Machine{{Name: "a", Macs: macs, Hostname: r.Name}}})) == 0 {
			m.Hostname = r.Name
		}
		o.machines = append(o.machines, m)
	}
	for _, mac := range macs {
		if other := o.byMAC[mac]; other == nil {
			o.byMAC[mac] = m
			m.Macs = append(m.Macs, mac)
		} else if other != m {
			o.say(r.Line, "the MAC %s is that of machine %s already, and is left out here", mac, other.GetName())
		}
	}
	switch s := networks.Of(r.Address); {
	case !r.Address.IsValid():
	case s == nil:
		o.say(r.Line, "the address %s of machine %s is left out, since no subnet in these files has it", r.Address, m.GetName())
	case r.Address.Is6() && m.Address6 != "":
		o.say(r.Line, "the address %s of machine %s is left out, since a machine has one of IPv6, and this one has %s", r.Address, m.GetName(), m.GetAddress6())
	case r.Address.Is6():
		m.Address6 = fmt.Sprintf("%s/%d", r.Address, netip.MustParsePrefix(s.GetPrefix()).Bits())
	case m.Address != "":
		o.say(r.Line, "the address %s of machine %s is left out, since a machine has one, and this one has %s", r.Address, m.GetName(), m.GetAddress())
	default:
		m.Address = fmt.Sprintf("%s/%d", r.Address, netip.MustParsePrefix(s.GetPrefix()).Bits())
	}
}

func nameOrAddress(r oldReservation) string {
	if r.Address.IsValid() {
		return r.Address.String()
	}
	return fmt.Sprintf("%q", r.Name)
}

// name is a machine's name that nobody has yet.
func (o *Config) name(text, mac string) string {
	clean := strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.':
			return c
		case c == '_':
			return '-'
		}
		return -1
	}, strings.ToLower(text)), "-.")
	name := "host-" + strings.ReplaceAll(mac, ":", "")
	if problems := fleet.Check(&kilnv1.Intent{Machines: []*kilnv1.Machine{{Name: clean, Macs: []string{mac}}}}); len(problems) == 0 && !o.names[clean] {
		name = clean
	}
	o.names[name] = true
	return name
}

// keepServers excludes from pools what the subnet's machines are told of, unless it is a machine's fixed address.
func keepServers(s *kilnv1.Subnet, fixed map[string]bool) {
	pooled := fleet.PooledOf(s)
	for _, text := range slices.Concat([]string{s.GetGateway()}, s.GetDns(), s.GetNtp()) {
		a, err := netip.ParseAddr(text)
		if err != nil || !pooled.Has(a) || fixed[text] {
			continue
		}
		s.Exclude = append(s.Exclude, &kilnv1.AddressRange{From: text, To: text})
		pooled = fleet.PooledOf(s)
	}
}

// YAML is all of it, with what is to be looked at in comments.
func (o *Config) YAML() ([]byte, error) {
	networks := fleet.NetworksOf(o.subnets)
	for _, r := range o.waiting {
		o.reservation(r, networks)
	}
	fixed := map[string]bool{}
	for _, m := range o.machines {
		fixed[fixedAddress(m)] = true
	}
	for _, s := range o.subnets {
		keepServers(s, fixed)
	}
	var out bytes.Buffer
	out.WriteString("# Made by kiln subnet import. Look it through, then: kiln diff -f THIS, and kiln apply -f THIS.\n")
	if len(o.remarks) > 0 {
		out.WriteString("# Not taken over, or not as it was:\n")
		writeRemarks(&out, "#   ", o.remarks)
	}
	if problems := fleet.Check(&kilnv1.Intent{Subnets: o.subnets, Machines: o.machines}); len(problems) > 0 {
		out.WriteString("# kiln apply will refuse it until this is mended:\n")
		for _, p := range problems {
			fmt.Fprintf(&out, "#   %s\n", p)
		}
	}
	text, err := fleet.WriteYAML(o.subnets, o.machines)
	out.Write(text)
	return out.Bytes(), err
}
