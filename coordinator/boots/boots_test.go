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
