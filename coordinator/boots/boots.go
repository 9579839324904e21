// Package boots is what is known of machines on their way, from what edges tell: timelines that are put together, kept short,
// and closed with a reason when nothing more comes. It does no I/O.
package boots

import (
	"slices"
	"strings"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Machine is the name under which a machine's events are kept: its own, or its MAC when nobody described it.
func Machine(e *kilnv1.BootEvent) string {
	if e.GetMachine() != "" {
		return e.GetMachine()
	}
	return e.GetMac()
}

// Merge returns the events of both, each once, in the order of their times.
func Merge(a, b []*kilnv1.BootEvent) []*kilnv1.BootEvent {
	type identity struct {
		mac, edge, detail string
		at                int64
		stage             kilnv1.BootStage
	}
	seen := map[identity]bool{}
	var out []*kilnv1.BootEvent
	for _, e := range slices.Concat(a, b) {
		id := identity{e.GetMac(), e.GetEdge(), e.GetDetail(), e.GetUnixMs(), e.GetStage()}
		if !seen[id] {
			seen[id] = true
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b *kilnv1.BootEvent) int { return int(a.GetUnixMs() - b.GetUnixMs()) })
	return out
}

// Latest keeps at most n events of a machine. What it logged goes before what it did, and both the oldest first.
func Latest(events []*kilnv1.BootEvent, n int) []*kilnv1.BootEvent {
	over := len(events) - n
	if over <= 0 {
		return events
	}
	logged := 0
	out := slices.DeleteFunc(slices.Clone(events), func(e *kilnv1.BootEvent) bool {
		if e.GetStage() != kilnv1.BootStage_BOOT_STAGE_SYSLOG || logged == over {
			return false
		}
		logged++
		return true
	})
	return out[over-logged:]
}

// Patience is how long nothing may be heard of a machine before its boot counts as stopped: firmware tries again within a
// minute, and the largest files take less.
const Patience = 3 * time.Minute

// Watch finds boots that stop.
type Watch struct {
	open map[string]heard // the last event of each machine that is on its way
}

type heard struct {
	event *kilnv1.BootEvent
	at    int64 // by the clock of whoever watches: those of edges may be wrong
}

// maxOpen bounds the machines that are watched: anybody can say a MAC.
const maxOpen = 100_000

// Add takes events that came now, in ms since 1970.
func (w *Watch) Add(events []*kilnv1.BootEvent, now int64) {
	if w.open == nil {
		w.open = map[string]heard{}
	}
	for _, e := range events {
		name := Machine(e)
		switch {
		case e.GetStage() == kilnv1.BootStage_BOOT_STAGE_SYSLOG:
		case why(e) == "":
			delete(w.open, name)
		case w.open[name].event != nil || len(w.open) < maxOpen:
			w.open[name] = heard{e, now}
		}
	}
}

// Stopped returns an event for each boot of which nothing was heard for Patience, and forgets it. Now is in ms since 1970.
func (w *Watch) Stopped(now int64) []*kilnv1.BootEvent {
	var out []*kilnv1.BootEvent
	for name, h := range w.open {
		if now-h.at < Patience.Milliseconds() {
			continue
		}
		delete(w.open, name)
		e := h.event
		out = append(out, &kilnv1.BootEvent{
			Machine: e.GetMachine(), Mac: e.GetMac(), Uuid: e.GetUuid(), Boot: e.GetBoot(), Address: e.GetAddress(), Edge: e.GetEdge(),
			UnixMs: now, Stage: kilnv1.BootStage_BOOT_STAGE_FAILED, Detail: why(e),
		})
	}
	slices.SortFunc(out, func(a, b *kilnv1.BootEvent) int { return strings.Compare(Machine(a), Machine(b)) })
	return out
}

// why is the likely reason when e is the last event of a boot; empty where a machine needs nothing more from an edge.
func why(e *kilnv1.BootEvent) string {
	switch e.GetStage() {
	case kilnv1.BootStage_BOOT_STAGE_DHCP:
		return "it was told what to boot and fetched nothing: its firmware took another server's answer, or does not reach this edge"
	case kilnv1.BootStage_BOOT_STAGE_TFTP:
		return "it has a boot program and asked for nothing more: its firmware refused the program (Secure Boot, another architecture), or the program does not reach this edge by HTTP"
	case kilnv1.BootStage_BOOT_STAGE_SCRIPT:
		if e.GetBoot() != "" { // otherwise it boots from its disk
			return "it has its script and fetched no kernel: look at its console"
		}
	case kilnv1.BootStage_BOOT_STAGE_KERNEL:
		if e.GetBoot() != "" { // otherwise it is a unified kernel image, and all there is
			return "it has its kernel and not its initrd: look at its console"
		}
	}
	return ""
}
