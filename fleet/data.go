package fleet

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"

	"github.com/kiln-farm/kiln/fleet/templates"
)

// InstanceID is the instance's id, as clouds call it. cloud-init does its work again when it changes, so it is the machine's and
// not the boot's.
func (b *Boot) InstanceID() string { return "kiln-" + strings.ReplaceAll(b.Key(), ":", "-") }

// SystemUUID is the machine's UUID, or otherwise one of version 8 made of its id (RFC 9562 §5.8).
func (b *Boot) SystemUUID() string {
	if u := b.Machine.GetUuid(); u != "" {
		return u
	}
	if u := b.Identity.UUID; u != "" {
		return u
	}
	h := sha256.Sum256([]byte("kiln machine\x00" + b.InstanceID()))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// Address is the machine's fixed address, or otherwise the one that DHCP gave it; invalid: not known.
func (b *Boot) Address(given netip.Prefix) netip.Prefix {
	if p, err := Address(b.Machine.GetAddress()); err == nil {
		return p
	}
	return given
}

// Data is what the machine's templates may say. Given is the address that DHCP gave it.
func (b *Boot) Data(given netip.Prefix) templates.Data {
	m := templates.Machine{
		Name: b.Name(), Hostname: b.Hostname(), ID: b.InstanceID(), UUID: b.SystemUUID(), MACs: b.MACs(),
		Labels: b.Machine.GetLabels(), Gateway: b.Machine.GetGateway(), DNS: b.Machine.GetDns(), SSHKeys: b.SSHKeys,
	}
	if p := b.Address(given); p.IsValid() {
		m.Address, m.Prefix = p.Addr().String(), fmt.Sprint(p.Bits())
	}
	if len(m.MACs) > 0 {
		m.MAC = m.MACs[0]
	}
	// JSON of a nil slice or map is null, which whoever reads it may not expect.
	if m.MACs == nil {
		m.MACs = []string{}
	}
	if m.DNS == nil {
		m.DNS = []string{}
	}
	if m.SSHKeys == nil {
		m.SSHKeys = []string{}
	}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	return templates.Data{Machine: m, Values: b.Values, Release: b.Release.GetName(), Groups: b.Groups}
}
