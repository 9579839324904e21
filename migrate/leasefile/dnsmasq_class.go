package leasefile

import (
	"slices"
	"strconv"
	"strings"
)

// class reads dhcp-vendorclass=set:x,TEXT, dhcp-userclass=set:x,TEXT and dhcp-match=set:x,option:client-arch,7 (dnsmasq(8)).
func (r *dnsmasqReader) class(line int, key string, fields []dnsmasqField) {
	var net []string
	_, sets, rest := dnsmasqTags(fields, &net)
	sets = append(sets, net...)
	c := Class{Line: line}
	ok := len(sets) == 1 && len(rest) > 0 && len(r.classes) < maxClasses
	switch {
	case !ok:
	case key == "dhcp-vendorclass" && len(rest) == 1 && !strings.HasPrefix(rest[0].text, "enterprise:"):
		c.VendorClass = rest[0].text
	case key == "dhcp-userclass" && len(rest) == 1:
		c.UserClass = rest[0].text
	case key == "dhcp-match" && len(rest) == 2 && (rest[0].text == "option:client-arch" || rest[0].text == "93"):
		n, err := strconv.ParseUint(rest[1].text, 10, 16)
		c.Arch, ok = uint32(n)+1, err == nil
	default:
		ok = false
	}
	if ok {
		c.Name = className(sets[0])
	}
	if c.Name == "" || r.classNamed(sets[0]) != nil {
		r.noteOnce(line, "%s is not taken over, because it is none of a vendor class, a user class or an architecture alone; write it, and the options for its tag, as a class of the subnets (docs/dhcp.md)", key)
		return
	}
	r.classes = append(r.classes, c)
}

func (r *dnsmasqReader) classNamed(tag string) *Class {
	for i := range r.classes {
		if r.classes[i].Name == className(tag) {
			return &r.classes[i]
		}
	}
	return nil
}

// vendorOf is the vendor class of the class that an option is for.
func (r *dnsmasqReader) vendorOf(tags []string) string {
	for _, t := range tags {
		if c := r.classNamed(t); c != nil {
			return c.VendorClass
		}
	}
	return ""
}

// forClass gives an option to a class, in the subnets whose ranges set its other tags. It says whether it is one for a class.
func (r *dnsmasqReader) forClass(o dnsmasqOption) bool {
	at := slices.IndexFunc(o.tags, func(t string) bool { return r.classNamed(t) != nil })
	if at < 0 || o.v6 {
		return false
	}
	class := *r.classNamed(o.tags[at])
	o.tags = slices.Delete(slices.Clone(o.tags), at, at+1)
	told := Subnet{}
	o.apply(&told)
	for i := range r.out.Subnets {
		s := &r.out.Subnets[i]
		if s.Prefix.Addr().Is6() || !r.selected(o, s.Prefix) {
			continue
		}
		n := slices.IndexFunc(s.Classes, func(c Class) bool { return c.Name == class.Name })
		if n < 0 {
			n = len(s.Classes)
			s.Classes = append(s.Classes, class)
		}
		for _, one := range told.asOptions(o.line) {
			s.Classes[n].Options = sorted(put(s.Classes[n].Options, one))
		}
	}
	return true
}
