package pool

import (
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/internal/dnsname"
)

const optName = 81

// asksFor is the label in DNS that a client asks for, by option 81 before option 12, or that it wants none. Those of machines
// that are described are their operators' to say.
func (q question) asksFor(s *subnet) (label string, none bool) {
	switch {
	case q.machine != nil || !s.names.GetClients():
		return "", false
	case q.FQDN.None:
		return "", true
	}
	if label = dnsname.Label(q.FQDN.Name); label == "" {
		label = dnsname.Label(q.Hostname)
	}
	return label, false
}

// answerName is option 81 for a client that sent it, by the name that it has in DNS. Where nothing is published, the option is
// not known.
func (s *subnet) answerName(c dhcp.Client, name string) []byte {
	if s.names == nil {
		return nil
	}
	return c.FQDN.Answer(name)
}
