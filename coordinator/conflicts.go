package coordinator

import (
	"fmt"
	"time"

	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// conflicts says which addresses a change would give to two, a sentence each.
func (l *leader) conflicts(change *kilnv1.RoomCommand) (out []string) {
	var found []state.Conflict
	l.View(func(m *state.Machine) { found = m.Conflicts(change) })
	steady := l.Steady()
	for _, c := range found {
		b := c.Binding
		left := (time.Duration(b.GetUntilMs()-steady) * time.Millisecond).Round(time.Second)
		until := l.cfg.Now().Add(left).UTC().Format("2006-01-02 15:04 UTC")
		switch {
		case c.Machine != "":
			out = append(out, fmt.Sprintf("machine %s: its address %s is bound to %s for another %s, until %s; release it with \"kiln leases release %s\" when that one is off, or write another address",
				c.Machine, b.GetAddress(), holder(b), left, until, b.GetAddress()))
		default:
			out = append(out, fmt.Sprintf("subnet %s: it would take over addresses that are bound in subnet %s (%d, such as %s of %s until %s), and know nothing of them; keep the subnet's name, or release them with kiln leases release",
				c.Subnet, b.GetSubnet(), c.Count, b.GetAddress(), holder(b), until))
		}
	}
	return out
}

// holder is whose a binding is, for people.
func holder(b *kilnv1.Binding) string {
	who := b.GetMac()
	if who == "" {
		who = b.GetClient()
	}
	if who == "" {
		who = "a machine that nobody knows"
	}
	if b.GetHostname() != "" {
		who += fmt.Sprintf(" (%.64q)", b.GetHostname())
	}
	return who
}
