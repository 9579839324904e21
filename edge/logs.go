package edge

import (
	"fmt"
	"net/netip"

	"github.com/kiln-farm/kiln/edge/syslog"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Logged takes a line that a machine logged. Those of addresses that no machine uses are dropped: anybody may send them.
func (e *Edge) Logged(from netip.Addr, m syslog.Message, dropped int) {
	event := &kilnv1.BootEvent{Address: from.String(), Stage: kilnv1.BootStage_BOOT_STAGE_SYSLOG, Detail: m.Name() + ": " + m.Text}
	if dropped > 0 {
		event.Detail = fmt.Sprintf("(%d lines came too fast and are lost) %s", dropped, event.Detail)
	}
	if last := e.seen.Last(from); last != nil {
		event.Machine, event.Mac, event.Boot = last.GetMachine(), last.GetMac(), last.GetBoot()
	} else if b, ok := e.seen.Bound(from); ok {
		event.Mac = b.MAC
		if boot, _ := e.cfg.Intents.Index().Resolve(fleet.Identity{MAC: b.MAC}); boot != nil {
			event.Machine = boot.Machine.GetName()
		}
	} else {
		return
	}
	e.cfg.Events.Add(event)
}

// tell reports what a machine did.
func (e *Edge) tell(event *kilnv1.BootEvent) {
	e.seen.Note(event)
	e.cfg.Events.Add(event)
}
