package fleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// optionText is an option as a file has it. What its bytes are depends on the subnet's prefix, which may come after it.
type optionText struct {
	subnet *kilnv1.Subnet
	class  *kilnv1.ClientClass // nil: the subnet's own
	option *kilnv1.DHCPOption
	texts  []string
	where  string
	at     mark
}

func (r *reader) subnet(s *kilnv1.Subnet) map[string]take {
	return map[string]take{
		"name":       r.text(&s.Name),
		"prefix":     r.text(&s.Prefix),
		"pools":      r.ranges(&s.Pools, "pools"),
		"exclude":    r.ranges(&s.Exclude, "exclude"),
		"gateway":    r.text(&s.Gateway),
		"dns":        r.texts(&s.Dns, "dns", asWritten),
		"domain":     r.text(&s.Domain),
		"ntp":        r.texts(&s.Ntp, "ntp", asWritten),
		"lease":      r.seconds(&s.LeaseSeconds),
		"boot_lease": r.seconds(&s.BootLeaseSeconds),
		"relays":     r.texts(&s.Relays, "relays", asWritten),
		"known_only": r.flag(&s.KnownOnly),
		"dns_update": r.dnsUpdate(s),
		"options":    r.options(s, nil, &s.Options),
		"classes": func(node *yaml.Node, where string) {
			r.list(node, where, func(one *yaml.Node, where string) {
				c := &kilnv1.ClientClass{}
				under := fmt.Sprintf("classes[%d]", len(s.Classes))
				s.Classes = append(s.Classes, c)
				r.at(one, under)
				r.under = under + "."
				r.object(one, where, r.class(s, c))
				r.under = ""
			})
		},
	}
}

func (r *reader) class(s *kilnv1.Subnet, c *kilnv1.ClientClass) map[string]take {
	return map[string]take{
		"name":         r.text(&c.Name),
		"vendor_class": r.text(&c.VendorClass),
		"user_class":   r.text(&c.UserClass),
		"arch": func(node *yaml.Node, where string) {
			n, err := strconv.ParseUint(node.Value, 10, 16)
			if err != nil || node.ShortTag() != "!!int" {
				r.wrong(node, where, "a number of DHCP's option 93", "write one, such as 7 for 64-bit UEFI")
				return
			}
			c.Arch = uint32(n) + 1
		},
		"selector": r.mapping(&c.Selector, "selector", false, 0),
		"pools":    r.ranges(&c.Pools, "pools"),
		"lease":    r.seconds(&c.LeaseSeconds),
		"options":  r.options(s, c, &c.Options),
	}
}

func (r *reader) ranges(into *[]*kilnv1.AddressRange, field string) take {
	return func(node *yaml.Node, where string) {
		r.list(node, where, func(one *yaml.Node, where string) {
			s, ok := r.scalar(one, where)
			if !ok {
				return
			}
			a, err := Range(s)
			if err != nil {
				r.complain(one.Line, "%s: %s", where, err)
				return
			}
			r.at(one, fmt.Sprintf("%s[%d]", field, len(*into)))
			*into = append(*into, a)
		})
	}
}

// seconds reads a time such as "12h" or "7d".
func (r *reader) seconds(into *uint32) take {
	return func(node *yaml.Node, where string) {
		s, ok := r.scalar(node, where)
		if !ok {
			return
		}
		d, err := duration(s)
		if err != nil || d <= 0 || d%time.Second != 0 || d/time.Second > 1<<32-1 {
			r.complain(node.Line, "%s is %s, which is no time; write one like \"10m\", \"12h\" or \"7d\"", where, quote(s))
			return
		}
		*into = uint32(d / time.Second)
	}
}

// duration is time.ParseDuration with days.
func duration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// durationText is a time as duration reads it.
func durationText(seconds uint32) string {
	const minute, hour, day = 60, 3600, 86400
	switch {
	case seconds == 0:
		return ""
	case seconds%day == 0:
		return fmt.Sprintf("%dd", seconds/day)
	case seconds%hour == 0:
		return fmt.Sprintf("%dh", seconds/hour)
	case seconds%minute == 0:
		return fmt.Sprintf("%dm", seconds/minute)
	}
	return fmt.Sprintf("%ds", seconds)
}

// options reads options by number, each a value or a list of them.
func (r *reader) options(s *kilnv1.Subnet, c *kilnv1.ClientClass, into *[]*kilnv1.DHCPOption) take {
	return func(node *yaml.Node, where string) {
		r.pairs(node, where, func(key, value *yaml.Node) {
			where := where + "." + key.Value
			r.at(key, "options."+key.Value)
			code, err := strconv.ParseUint(key.Value, 10, 16)
			if err != nil || key.Value != strconv.FormatUint(code, 10) {
				r.complain(key.Line, "%s is not the number of an option; write it like 42", quote(key.Value))
				return
			}
			one := optionText{subnet: s, class: c, option: &kilnv1.DHCPOption{Code: uint32(code)}, where: where, at: mark{r.file, value.Line}}
			text := func(node *yaml.Node, where string) {
				if s, ok := r.scalar(node, where); ok {
					one.texts = append(one.texts, s)
				}
			}
			if value.Kind == yaml.SequenceNode {
				r.list(value, where, text)
			} else {
				text(value, where)
			}
			*into = append(*into, one.option)
			r.optionTexts = append(r.optionTexts, one)
		})
		slices.SortStableFunc(*into, func(a, b *kilnv1.DHCPOption) int { return int(a.GetCode()) - int(b.GetCode()) })
	}
}

// encodeOptions gives options their bytes, when the prefixes of all subnets are read.
func (r *reader) encodeOptions() {
	for _, o := range r.optionTexts {
		v6 := isV6(o.subnet)
		if len(o.texts) == 0 || optionRefused(v6, o.option.GetCode(), o.class.GetVendorClass()) != nil {
			continue // that was said, or Check says it
		}
		var err error
		if o.option.Value, err = encodeOption(v6, o.option.GetCode(), o.texts); err != nil {
			r.file = o.at.file
			r.complain(o.at.line, "%s: %s", o.where, err)
		}
	}
}
