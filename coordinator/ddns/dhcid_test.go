package ddns

import "testing"

func TestDHCIDsOfTheRFC(t *testing.T) {
	for _, c := range []struct{ name, client, fqdn, want string }{ // RFC 4701 §3.6
		{"by DUID", "duid 00010006412df166010203040506 1", "chi6.example.com", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="},
		{"by hardware address", "mac 01:02:03:04:05:06", "client.example.com", "AAABxLmlskllE0MVjd57zHcWmEH3pCQ6VytcKD//7es/deY="},
	} {
		if got, err := DHCID(c.client, c.fqdn); got != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
	for _, client := range []string{"", "mac", "mac zz", "duid", "duid xx 1", "uuid ", "other 1"} {
		if got, err := DHCID(client, "a.example"); err == nil {
			t.Errorf("%q has the DHCID %s", client, got)
		}
	}
}
