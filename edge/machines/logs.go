package machines

import (
	"fmt"
	"net/netip"

	"github.com/kiln-farm/kiln/edge/syslog"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Logged takes a line that a machine logged. Those of addresses that no machine uses are dropped: anybody may send them.
func (m *Machines) Logged(from netip.Addr, line syslog.Message, dropped int) {
	event := &kilnv1.BootEvent{Address: from.String(), Stage: kilnv1.BootStage_BOOT_STAGE_SYSLOG, Detail: line.Name() + ": " + line.Text}
	if dropped > 0 {
		event.Detail = fmt.Sprintf("(%d lines came too fast and are lost) %s", dropped, event.Detail)
	}
	if last := m.Seen.Last(from); last != nil {
		event.Machine, event.Mac, event.Boot = last.GetMachine(), last.GetMac(), last.GetBoot()
	} else if b, ok := m.Seen.Bound(from); ok {
		event.Mac = b.MAC
		if boot, _ := m.Intents.Index().Resolve(fleet.Identity{MAC: b.MAC}); boot != nil {
			event.Machine = boot.Machine.GetName()
		}
	} else {
		return
	}
	m.Events.Add(event)
}

// Tell reports what a machine did.
func (m *Machines) Tell(event *kilnv1.BootEvent) {
	m.Seen.Note(event)
	m.Events.Add(event)
}
