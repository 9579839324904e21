package fleet

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func subnetFields(s *kilnv1.Subnet) []field {
	out := []field{
		{name: "prefix", value: s.GetPrefix()}, {name: "pools", value: rangesText(s.GetPools())}, {name: "exclude", value: rangesText(s.GetExclude())},
		{name: "gateway", value: s.GetGateway()}, {name: "dns", value: strings.Join(s.GetDns(), ", ")}, {name: "domain", value: s.GetDomain()},
		{name: "ntp", value: strings.Join(s.GetNtp(), ", ")}, {name: "lease", value: durationText(s.GetLeaseSeconds())},
		{name: "boot_lease", value: durationText(s.GetBootLeaseSeconds())}, {name: "relays", value: strings.Join(s.GetRelays(), ", ")},
		flag("known_only", s.GetKnownOnly()),
	}
	out = append(out, dnsFields(s.GetDnsUpdate())...)
	out = append(out, optionFields("", s, s.GetOptions())...)
	var names []string
	for _, c := range s.GetClasses() {
		names = append(names, c.GetName())
	}
	out = append(out, field{name: "classes", value: strings.Join(names, ", ")}) // their order counts
	for _, c := range s.GetClasses() {
		at := "classes." + c.GetName() + "."
		out = append(out, field{name: at + "vendor_class", value: c.GetVendorClass()}, field{name: at + "user_class", value: c.GetUserClass()},
			field{name: at + "arch", value: archText(c.GetArch())})
		out = append(out, mapped(at+"selector", c.GetSelector(), false)...)
		out = append(out, field{name: at + "pools", value: rangesText(c.GetPools())}, field{name: at + "lease", value: durationText(c.GetLeaseSeconds())})
		out = append(out, optionFields(at, s, c.GetOptions())...)
	}
	return out
}

func archText(arch uint32) string {
	if arch == 0 {
		return ""
	}
	return strconv.Itoa(int(arch) - 1)
}

func rangesText(all []*kilnv1.AddressRange) string { return strings.Join(rangeTexts(all), ", ") }

func rangeTexts(all []*kilnv1.AddressRange) []string {
	var out []string
	for _, r := range all {
		out = append(out, RangeText(r))
	}
	return out
}

func isV6(s *kilnv1.Subnet) bool {
	p, err := netip.ParsePrefix(s.GetPrefix())
	return err == nil && p.Addr().Is6()
}

func optionFields(at string, s *kilnv1.Subnet, options []*kilnv1.DHCPOption) []field {
	var out []field
	for _, o := range options {
		out = append(out, field{name: fmt.Sprintf("%soptions.%d", at, o.GetCode()), value: strings.Join(OptionTexts(isV6(s), o.GetCode(), o.GetValue()), ", ")})
	}
	return out
}

// What follows is the YAML that Parse reads, in the order in which people write it.
type (
	fileYAML struct {
		Subnets  []subnetYAML  `yaml:"subnets,omitempty"`
		Machines []machineYAML `yaml:"machines,omitempty"`
	}
	machineYAML struct {
		Name     string            `yaml:"name"`
		MACs     []string          `yaml:"macs,omitempty,flow"`
		UUID     string            `yaml:"uuid,omitempty"`
		Labels   map[string]string `yaml:"labels,omitempty,flow"`
		Hostname string            `yaml:"hostname,omitempty"`
		Address  string            `yaml:"address,omitempty"`
		Address6 string            `yaml:"address6,omitempty"`
		Gateway  string            `yaml:"gateway,omitempty"`
		DNS      []string          `yaml:"dns,omitempty,flow"`
	}
	subnetYAML struct {
		Name      string            `yaml:"name"`
		Prefix    string            `yaml:"prefix"`
		Pools     []string          `yaml:"pools,omitempty,flow"`
		Exclude   []string          `yaml:"exclude,omitempty,flow"`
		Gateway   string            `yaml:"gateway,omitempty"`
		DNS       []string          `yaml:"dns,omitempty,flow"`
		Domain    string            `yaml:"domain,omitempty"`
		NTP       []string          `yaml:"ntp,omitempty,flow"`
		Lease     string            `yaml:"lease,omitempty"`
		BootLease string            `yaml:"boot_lease,omitempty"`
		Relays    []string          `yaml:"relays,omitempty,flow"`
		KnownOnly bool              `yaml:"known_only,omitempty"`
		DNSUpdate *dnsUpdateYAML    `yaml:"dns_update,omitempty,flow"`
		Options   map[uint32]any    `yaml:"options,omitempty,flow"`
		Classes   []clientClassYAML `yaml:"classes,omitempty"`
	}
	clientClassYAML struct {
		Name        string            `yaml:"name"`
		VendorClass string            `yaml:"vendor_class,omitempty"`
		UserClass   string            `yaml:"user_class,omitempty"`
		Arch        *uint32           `yaml:"arch,omitempty"`
		Selector    map[string]string `yaml:"selector,omitempty,flow"`
		Pools       []string          `yaml:"pools,omitempty,flow"`
		Lease       string            `yaml:"lease,omitempty"`
		Options     map[uint32]any    `yaml:"options,omitempty,flow"`
	}
)

// WriteYAML writes subnets, and what says who a machine is and where, as Parse reads it.
func WriteYAML(subnets []*kilnv1.Subnet, machines []*kilnv1.Machine) ([]byte, error) {
	var file fileYAML
	for _, s := range subnets {
		v6 := isV6(s)
		y := subnetYAML{
			Name: s.GetName(), Prefix: s.GetPrefix(), Pools: rangeTexts(s.GetPools()), Exclude: rangeTexts(s.GetExclude()), Gateway: s.GetGateway(), DNS: s.GetDns(),
			Domain: s.GetDomain(), NTP: s.GetNtp(), Lease: durationText(s.GetLeaseSeconds()), BootLease: durationText(s.GetBootLeaseSeconds()),
			Relays: s.GetRelays(), KnownOnly: s.GetKnownOnly(), DNSUpdate: dnsYAML(s.GetDnsUpdate()), Options: optionsYAML(v6, s.GetOptions()),
		}
		for _, c := range s.GetClasses() {
			one := clientClassYAML{Name: c.GetName(), VendorClass: c.GetVendorClass(), UserClass: c.GetUserClass(), Selector: c.GetSelector(), Pools: rangeTexts(c.GetPools()),
				Lease: durationText(c.GetLeaseSeconds()), Options: optionsYAML(v6, c.GetOptions())}
			if arch := c.GetArch(); arch > 0 {
				arch--
				one.Arch = &arch
			}
			y.Classes = append(y.Classes, one)
		}
		file.Subnets = append(file.Subnets, y)
	}
	for _, m := range machines {
		file.Machines = append(file.Machines, machineYAML{Name: m.GetName(), MACs: m.GetMacs(), UUID: m.GetUuid(), Labels: m.GetLabels(), Hostname: m.GetHostname(),
			Address: m.GetAddress(), Address6: m.GetAddress6(), Gateway: m.GetGateway(), DNS: m.GetDns()})
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(file); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

func optionsYAML(v6 bool, options []*kilnv1.DHCPOption) map[uint32]any {
	out := map[uint32]any{}
	for _, o := range options {
		texts := OptionTexts(v6, o.GetCode(), o.GetValue())
		out[o.GetCode()] = texts
		if len(texts) == 1 {
			out[o.GetCode()] = texts[0]
		}
	}
	return out
}
