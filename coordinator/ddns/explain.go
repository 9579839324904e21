package ddns

import (
	"fmt"

	"github.com/miekg/dns"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Explain says in one sentence why a server did not do what was asked about a record, and what to do. Tsig is the error of the
// answer's signature (RFC 8945 §3), 0 when there is none.
func Explain(r *kilnv1.DNSRecord, code int, tsig uint16) string {
	server, zone := r.GetServer(), r.GetZone()
	switch tsig {
	case dns.RcodeBadSig:
		return fmt.Sprintf("%s does not take the signature of key %q (BADSIG): the secret in the file of --dns-keys is not the server's, copy its key clause anew", server, r.GetKey())
	case dns.RcodeBadKey:
		return fmt.Sprintf("%s knows no key %q (BADKEY): give the server that key, or name one that it has in the subnet's dns_update", server, r.GetKey())
	case dns.RcodeBadTime:
		return fmt.Sprintf("%s says that the clocks differ too much (BADTIME): set its clock, or that of the coordinator that leads", server)
	}
	switch code {
	case dns.RcodeNotAuth:
		return fmt.Sprintf("%s is not the primary server of zone %s (NOTAUTH): name that one in the subnet's dns_update, or correct zone or reverse", server, zone)
	case dns.RcodeRefused:
		who := "this coordinator's address"
		if r.GetKey() != "" {
			who = fmt.Sprintf("key %q", r.GetKey())
		}
		return fmt.Sprintf("%s refuses updates of zone %s (REFUSED): allow them there to %s (BIND: allow-update or update-policy)", server, zone, who)
	case dns.RcodeNotZone:
		return fmt.Sprintf("%s says that the records of %s are not in zone %s (NOTZONE): correct zone or reverse in the subnet's dns_update", server, r.GetAddress(), zone)
	case dns.RcodeNotImplemented:
		return fmt.Sprintf("%s does no dynamic updates (NOTIMP): name a server that does in the subnet's dns_update", server)
	case dns.RcodeServerFailure:
		return fmt.Sprintf("%s fails at an update of zone %s (SERVFAIL): its log says why, often it may not write the zone's journal", server, zone)
	case dns.RcodeYXDomain, dns.RcodeNXRrset:
		return takenBy(r)
	}
	name := dns.RcodeToString[code]
	if name == "" {
		name = fmt.Sprint("code ", code)
	}
	return fmt.Sprintf("%s answers %s to an update of zone %s: its log says why", server, name, zone)
}

// takenBy is for a name that is not ours.
func takenBy(r *kilnv1.DNSRecord) string {
	if r.GetReverse() {
		return fmt.Sprintf("%s has a pointer of %s that Kiln did not make, which is left alone: remove it there, or keep the address out of the pools", r.GetServer(), r.GetAddress())
	}
	return fmt.Sprintf("%s has a name %s that Kiln did not make for %s, which is left alone: remove it there, or call the machine something else", r.GetServer(), r.GetName(), r.GetClient())
}
