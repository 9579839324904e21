// Package boots is what is known of machines on their way, from what edges tell: timelines that are put together, kept short,
// and closed with a reason when nothing more comes. It does no I/O.
package boots

import (
	"fmt"
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

// Watch finds boots that stop. What came of a boot is looked at as a set: boot loaders fetch its files in any order, and several
// edges tell of them.
type Watch struct {
	open map[string]*onTheWay // by machine
}

// onTheWay is a machine's boot.
type onTheWay struct {
	event   *kilnv1.BootEvent // the last one
	at      int64             // by the clock of whoever watches: those of edges may be wrong
	boot    string            // its number; empty before the script
	files   int               // that the script named; 0: not known
	kernel  bool              // it has it
	initrds map[string]bool   // that it has, by digest
	done    bool              // nothing more is needed from an edge; what comes late opens it no more
}

const (
	maxOpen    = 100_000 // machines that are watched: anybody can say a MAC
	maxInitrds = 64      // of a boot, twice those of a release
)

// Add takes events that came now, in ms since 1970.
func (w *Watch) Add(events []*kilnv1.BootEvent, now int64) {
	if w.open == nil {
		w.open = map[string]*onTheWay{}
	}
	for _, e := range events {
		if e.GetStage() == kilnv1.BootStage_BOOT_STAGE_SYSLOG {
			continue
		}
		name := Machine(e)
		b := w.open[name]
		if b == nil || !b.continues(e) {
			if b == nil && len(w.open) >= maxOpen {
				continue
			}
			b = &onTheWay{}
		}
		b.take(e, now)
		if b.event == nil { // of a boot that nobody saw the begin of
			continue
		}
		w.open[name] = b
	}
}

// continues says whether e belongs to the boot so far.
func (b *onTheWay) continues(e *kilnv1.BootEvent) bool {
	begins := e.GetStage() == kilnv1.BootStage_BOOT_STAGE_DHCP || e.GetStage() == kilnv1.BootStage_BOOT_STAGE_TFTP
	switch {
	case b.boot == "":
		return !b.done || e.GetBoot() == "" && !begins
	case e.GetBoot() == "":
		return !begins
	}
	return e.GetBoot() == b.boot
}

// take adds what e says.
func (b *onTheWay) take(e *kilnv1.BootEvent, now int64) {
	switch e.GetStage() {
	case kilnv1.BootStage_BOOT_STAGE_SCRIPT:
		b.files = int(e.GetFiles())
		b.done = b.done || e.GetBoot() == "" // it boots from its disk
	case kilnv1.BootStage_BOOT_STAGE_KERNEL:
		b.kernel = true
		b.done = b.done || e.GetBoot() == "" // a unified kernel image is all there is
	case kilnv1.BootStage_BOOT_STAGE_INITRD:
		if b.event == nil {
			return
		}
		if b.initrds == nil {
			b.initrds = map[string]bool{}
		}
		if len(b.initrds) < maxInitrds {
			b.initrds[e.GetFile()] = true
		}
	case kilnv1.BootStage_BOOT_STAGE_DHCP, kilnv1.BootStage_BOOT_STAGE_TFTP:
	default: // it runs, or it failed and that is told
		b.done = true
	}
	if b.kernel && (len(b.initrds) >= b.files-1 && b.files > 0 || len(b.initrds) > 0 && b.files == 0) {
		b.done = true
	}
	if e.GetBoot() != "" {
		b.boot = e.GetBoot()
	}
	b.event, b.at = e, now
}

// Stopped returns an event for each boot of which nothing was heard for Patience, and forgets it. Now is in ms since 1970.
func (w *Watch) Stopped(now int64) []*kilnv1.BootEvent {
	var out []*kilnv1.BootEvent
	for name, b := range w.open {
		if now-b.at < Patience.Milliseconds() {
			continue
		}
		delete(w.open, name)
		if b.done {
			continue
		}
		e := b.event
		out = append(out, &kilnv1.BootEvent{
			Machine: e.GetMachine(), Mac: e.GetMac(), Uuid: e.GetUuid(), Boot: e.GetBoot(), Address: e.GetAddress(), Edge: e.GetEdge(),
			UnixMs: now, Stage: kilnv1.BootStage_BOOT_STAGE_FAILED, Detail: b.why(),
		})
	}
	slices.SortFunc(out, func(a, b *kilnv1.BootEvent) int { return strings.Compare(Machine(a), Machine(b)) })
	return out
}

// why is the likely reason when nothing more comes.
func (b *onTheWay) why() string {
	switch {
	case b.kernel && len(b.initrds) > 0:
		return fmt.Sprintf("it has its kernel and %d of its %d initrds: look at its console", len(b.initrds), b.files-1)
	case b.kernel:
		return "it has its kernel and not its initrd: look at its console"
	case len(b.initrds) > 0:
		return "it has its initrd and not its kernel: look at its console"
	}
	switch b.event.GetStage() {
	case kilnv1.BootStage_BOOT_STAGE_DHCP:
		return "it was told what to boot and fetched nothing: its firmware took another server's answer, or does not reach this edge"
	case kilnv1.BootStage_BOOT_STAGE_TFTP:
		return "it has a boot program and asked for nothing more: its firmware refused the program (Secure Boot, another architecture), or the program does not reach this edge by HTTP"
	}
	return "it has its script and fetched no kernel: look at its console"
}
