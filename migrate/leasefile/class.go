package leasefile

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxClasses bounds the classes of a file: each is compared with each subnet.
const maxClasses = 1000

// What dhcpd (dhcp-eval(5)) and Kea (Kea ARM, "Using Expressions in Classification") say of clients in the forms that people write, without blanks.
var (
	vendorTest = regexp.MustCompile(`^(?:substring\(option(?:\[60\]\.(?:hex|text)|\[vendor-class-identifier\]\.(?:hex|text)|vendor-class-identifier),0,([0-9]+|all)\)|option(?:\[60\]\.(?:hex|text)|\[vendor-class-identifier\]\.(?:hex|text)|vendor-class-identifier))={1,2}["']([^"']+)["']$`)
	userTest   = regexp.MustCompile(`^option(?:\[77\]\.(?:hex|text)|\[user-class\]\.(?:hex|text)|user-class)={1,2}["']([^"']+)["']$`)
	archTest   = regexp.MustCompile(`^option(?:\[93\]\.hex|\[client-system\]\.hex|client-arch(?:itecture-type)?|arch)={1,2}(?:0x([0-9a-fA-F]{4})|([0-9a-fA-F]{2}:[0-9a-fA-F]{2}))$`)
)

// match takes one test over. It says whether it could.
func (c *Class) match(test string) bool {
	test = strings.Trim(test, "()")
	if strings.HasPrefix(test, "substring") || strings.Count(test, "(") != strings.Count(test, ")") {
		test = strings.Replace(test+")", "))", ")", 1) // the parentheses around it are gone, and its own stay
		if strings.Count(test, "(") < strings.Count(test, ")") {
			test = strings.TrimSuffix(test, ")")
		}
	}
	if m := vendorTest.FindStringSubmatch(test); m != nil && c.VendorClass == "" {
		c.VendorClass = m[2]
		return m[1] == "" || m[1] == "all" || m[1] == strconv.Itoa(len(m[2]))
	}
	if m := userTest.FindStringSubmatch(test); m != nil && c.UserClass == "" {
		c.UserClass = m[1]
		return true
	}
	if m := archTest.FindStringSubmatch(test); m != nil && c.Arch == 0 {
		n, err := strconv.ParseUint(m[1]+strings.ReplaceAll(m[2], ":", ""), 16, 16)
		c.Arch = uint32(n) + 1
		return err == nil
	}
	return false
}

// classOf is the class of a test; false: it says something else.
func classOf(name, test string, line int) (Class, bool) {
	c := Class{Name: className(name), Line: line}
	for one := range strings.SplitSeq(test, " and ") {
		if !c.match(strings.Join(strings.Fields(one), "")) {
			return c, false
		}
	}
	return c, c.Name != ""
}

// className is a name as classes have it here.
func className(s string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			return c
		case c == '_' || c == ' ' || c == ':':
			return '-'
		}
		return -1
	}, s), "-.")
}

// asOptions are the options of what a subnet has fields for.
func (s Subnet) asOptions(line int) []Option {
	out := s.Options
	for code, texts := range map[uint32][]string{optionRouter: texts(s.Router), optionDNS: texts(s.DNS), optionNTP: texts(s.NTP)} {
		if len(texts) > 0 {
			out = put(out, Option{code, texts, line})
		}
	}
	if s.Domain != "" {
		out = put(out, Option{optionDomain, []string{s.Domain}, line})
	}
	return sorted(out)
}

func texts[T interface{ String() string }](all []T) []string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return out
}

func sorted(all []Option) []Option {
	slices.SortFunc(all, func(a, b Option) int { return int(a.Code) - int(b.Code) })
	return all
}
