package boots

import (
	"fmt"
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func event(machine string, stage kilnv1.BootStage, at int64, boot string) *kilnv1.BootEvent {
	return &kilnv1.BootEvent{Machine: machine, Stage: stage, UnixMs: at, Boot: boot, Detail: fmt.Sprint(machine, at)}
}

// named is an event of boot b with what it says of files.
func named(stage kilnv1.BootStage, at int64, files uint32, file string) *kilnv1.BootEvent {
	e := event("m", stage, at, "b")
	e.Files, e.File = files, file
	return e
}

const (
	dhcp   = kilnv1.BootStage_BOOT_STAGE_DHCP
	script = kilnv1.BootStage_BOOT_STAGE_SCRIPT
	kernel = kilnv1.BootStage_BOOT_STAGE_KERNEL
	initrd = kilnv1.BootStage_BOOT_STAGE_INITRD
	syslog = kilnv1.BootStage_BOOT_STAGE_SYSLOG
	failed = kilnv1.BootStage_BOOT_STAGE_FAILED
)

func TestMergeKeepsEachEventOnce(t *testing.T) {
	a := []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", script, 3, "b")}
	b := []*kilnv1.BootEvent{event("m", script, 3, "b"), event("m", kernel, 2, "b")}
	var got []string
	for _, e := range Merge(a, b) {
		got = append(got, fmt.Sprint(e.GetUnixMs()))
	}
	if want := "1 2 3"; strings.Join(got, " ") != want {
		t.Errorf("times %v, want %s", got, want)
	}
}

func TestLatestDropsLogLinesFirst(t *testing.T) {
	events := []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", syslog, 2, ""), event("m", kernel, 3, "b"), event("m", syslog, 4, ""), event("m", initrd, 5, "b")}
	for _, c := range []struct {
		n    int
		want string
	}{{9, "1 2 3 4 5"}, {4, "1 3 4 5"}, {3, "1 3 5"}, {2, "3 5"}, {0, ""}} {
		var got []string
		for _, e := range Latest(events, c.n) {
			got = append(got, fmt.Sprint(e.GetUnixMs()))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%d: times %v, want %q", c.n, got, c.want)
		}
	}
}

func TestABootThatStopsIsToldOnce(t *testing.T) {
	later := Patience.Milliseconds() + 10
	for _, c := range []struct {
		name   string
		events []*kilnv1.BootEvent
		want   string
	}{
		{"after DHCP", []*kilnv1.BootEvent{event("m", dhcp, 1, "")}, "told what to boot and fetched nothing"},
		{"after the script", []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", script, 2, "b")}, "fetched no kernel"},
		{"after the kernel, and it logs", []*kilnv1.BootEvent{event("m", kernel, 2, "b"), event("m", syslog, 5, "")}, "not its initrd"},
		{"to its own disk", []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", script, 2, "")}, ""},
		{"with a unified kernel image", []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", kernel, 2, "")}, ""},
		{"with the initrd before the kernel", []*kilnv1.BootEvent{event("m", script, 1, "b"), event("m", initrd, 2, "b"), event("m", kernel, 3, "b")}, ""},
		{"with the initrd before the kernel, and once more", []*kilnv1.BootEvent{event("m", script, 1, "b"), event("m", initrd, 2, "b"), event("m", kernel, 3, "b"), event("m", kernel, 4, "b")}, ""},
		{"with the initrd alone", []*kilnv1.BootEvent{event("m", script, 1, "b"), event("m", initrd, 2, "b")}, "its initrd and not its kernel"},
		{"with an initrd whose script went to another coordinator", []*kilnv1.BootEvent{event("m", initrd, 2, "b")}, ""},
		{"with one of two initrds", []*kilnv1.BootEvent{named(script, 1, 3, ""), named(initrd, 2, 0, "one"), named(kernel, 3, 0, "k")}, "1 of its 2 initrds"},
		{"with one of two initrds, twice", []*kilnv1.BootEvent{named(script, 1, 3, ""), named(initrd, 2, 0, "one"), named(kernel, 3, 0, "k"), named(initrd, 4, 0, "one")}, "1 of its 2 initrds"},
		{"with two of two initrds, the kernel between", []*kilnv1.BootEvent{named(script, 1, 3, ""), named(initrd, 2, 0, "one"), named(kernel, 3, 0, "k"), named(initrd, 4, 0, "two")}, ""},
		{"with a release that has no initrd", []*kilnv1.BootEvent{named(script, 1, 1, ""), named(kernel, 3, 0, "k")}, ""},
		{"and anew after it had everything", []*kilnv1.BootEvent{event("m", kernel, 1, "b"), event("m", initrd, 2, "b"), event("m", dhcp, 3, "")}, "told what to boot and fetched nothing"},
		{"and anew after a fault", []*kilnv1.BootEvent{event("m", failed, 1, ""), event("m", script, 2, "b")}, "fetched no kernel"},
		{"with everything", []*kilnv1.BootEvent{event("m", kernel, 1, "b"), event("m", initrd, 2, "b")}, ""},
		{"with a fault that is told already", []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", failed, 2, "")}, ""},
		{"and goes on at this moment", []*kilnv1.BootEvent{event("m", dhcp, 1, ""), event("m", dhcp, later-1, "")}, ""},
	} {
		var w Watch
		for _, e := range c.events {
			w.Add([]*kilnv1.BootEvent{e}, e.GetUnixMs())
		}
		got := w.Stopped(later)
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s: %v", c.name, got)
		case c.want != "" && (len(got) != 1 || !strings.Contains(got[0].GetDetail(), c.want) || got[0].GetStage() != failed || got[0].GetMachine() != "m"):
			t.Errorf("%s: %v, want %q", c.name, got, c.want)
		}
		if again := w.Stopped(later + 1); len(again) > 0 && c.want != "" {
			t.Errorf("%s: told again: %v", c.name, again)
		}
	}
}
