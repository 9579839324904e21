package config

import (
	"slices"
	"testing"

	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestFaultsAreSeenBeforeMachinesBoot(t *testing.T) {
	if got := Faults(room()); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	in := room()
	in.Machines = append(in.Machines,
		&kilnv1.Machine{Name: "kit-2", Macs: []string{"52:54:00:00:00:04"}, Labels: map[string]string{"os": "linuxkit"}},
		&kilnv1.Machine{Name: "kit-3", Macs: []string{"52:54:00:00:00:05"}, Labels: map[string]string{"os": "linuxkit"}, Values: map[string]string{"port": "1"}})
	in.Groups[1].Templates[fleet.UserData] = "{{.Values.port}}"
	in.Groups[1].Templates[fleet.Ignition] = `{"ignition": {}}`
	in.Machines[0].Templates[fleet.NetworkConfig] = "{{.Secrets.none}}"
	const value = `template user-data of group kit: line 1: at <.Values.port>: map has no entry for key "port"; give the machine or its group that value, or write default "…" (index .Values "…")`
	want := []string{
		"machine web-1: template network-config of machine web-1: line 1: at <.Secrets.none>: map has no entry for key \"none\"; give the machine that secret",
		`machine kit-1 and 2 more: template ignition of group kit: its ignition.version is "", not 3.x; make it with a newer butane`,
		"machine kit-1 and 1 more: " + value,
	}
	var got []string
	for _, f := range Faults(in) {
		got = append(got, f.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
