package subnets

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestReach(t *testing.T) {
	a := netip.MustParseAddr
	for _, c := range []struct {
		name           string
		pools, exclude []Span
		size           string
	}{
		{"none", nil, nil, "<nil>"},
		{"a half of everything", []Span{{a("8000::"), a("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}}, nil, "170141183460469231731687303715884105728"},
		{"two", []Span{{a("fd01::10"), a("fd01::1f")}, {a("fd01::1:0"), a("fd01::1:ff")}}, nil, "272"},
		{"without what is excluded", []Span{{a("fd01::10"), a("fd01::1f")}}, []Span{{a("fd01::1"), a("fd01::11")}, {a("fd01::15"), a("fd01::16")}, {a("fd01::1f"), a("fd01::ff")}}, "11"},
		{"all is excluded", []Span{{a("fd01::10"), a("fd01::1f")}}, []Span{{a("fd01::1"), a("fd01::ff")}}, "<nil>"},
	} {
		r := reachOf(c.pools, c.exclude)
		if got := fmt.Sprint(r.Size); got != c.size {
			t.Errorf("%s: %s addresses, want %s", c.name, got, c.size)
		}
		seen := map[netip.Addr]bool{}
		r.Each([]byte("key"), "a", "c", func(a netip.Addr) bool {
			if !In(c.pools, a) || In(c.exclude, a) {
				t.Errorf("%s: got %s", c.name, a)
			}
			if r.Small() && seen[a] {
				t.Errorf("%s: got %s twice", c.name, a)
			}
			seen[a] = true
			return len(seen) < 1000
		})
		if r.Small() && fmt.Sprint(len(seen)) != c.size {
			t.Errorf("%s: visited %d of %s", c.name, len(seen), c.size)
		}
	}
}
