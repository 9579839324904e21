package pool

import (
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/internal/dnsname"
)

const optName = 81

// asksFor is the label in DNS that a client asks for, by option 81 before option 12, or that it wants none. Those of machines
// that are described are their operators' to say.
func (q question) asksFor(s *subnets.Subnet) (label string, none bool) {
	switch {
	case q.machine != nil || !s.Names.GetClients():
		return "", false
	case q.FQDN.None:
		return "", true
	}
	if label = dnsname.Label(q.FQDN.Name); label == "" {
		label = dnsname.Label(q.Hostname)
	}
	return label, false
}
