package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFirmwareBootsOverIPv6FromAPool: nobody knows of an address for the machine, so that OVMF and iPXE get one out of the pool that a
// farm binds, which is the same.
func TestFirmwareBootsOverIPv6FromAPool(t *testing.T) {
	full(t)
	w := prepared(t)
	needFirmware(t, "amd64")
	needLoader(t)
	files := w.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", kernelAndInitrd, "--boot", "kiln.example/boot:demo")
	cmdline, err := os.ReadFile(filepath.Join(files, "machine-cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	described := filepath.Join(files, "room.yml")
	text := fmt.Sprintf(`machines:
  - {name: demo-machine, mac: "%s", labels: {role: demo}}
groups:
  - {name: demo, selector: {role: demo}, release: demo, templates: {user-data: "hello from the edge to {{ .Machine.Hostname }}"}}
releases:
  - {name: demo, platforms: {linux/amd64: {kernel: machine-kernel, initrd: machine-initrd.img, cmdline: %q}}}
subnets:
  - {name: six, prefix: "fd77::/64", pools: ["fd77::1:0:0:0/80"]}
`, machineMAC, strings.TrimSpace(string(cmdline)))
	if err := os.WriteFile(described, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	r := newRoom6(t)
	dir := t.TempDir()
	said := func(args ...string) string {
		t.Helper()
		args = r.in(append([]string{w.kiln}, args...)...)
		out, err := w.run(t.Context(), args[0], args[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var farm struct{ Admin string }
	if err := json.Unmarshal([]byte(said("init", "--data", dir+"/c1", "--farm", "lab", "--id", "c1", "--json")), &farm); err != nil {
		t.Fatal(err)
	}
	const address = "[" + roomAddress6 + "]:7300"
	with := []string{"--farm", "https://" + address, "--credentials", farm.Admin}
	r.start("listening", w.kiln, "coordinator", "--data", dir+"/c1", "--listen", address, "--cache", w.cache)
	time.Sleep(time.Second) // the feature level is raised a moment after the start
	said(append([]string{"apply", "--prune", "-f", described}, with...)...)
	token := strings.TrimSpace(said(append([]string{"farm", "token", "--role", "edge"}, with...)...))
	r.start("machines boot here over IPv6", w.kiln, "edge", "--data", dir+"/e1", "--join", address, "--token", token, "--cache", w.cache,
		"--interface", "br0", "--dhcp", "off", "--dhcp6", "full", "--autoconf", "yes")
	bootWithin(t, limit6, r.in(ovmfPXE6(t, r.tap())...), configured)

	var leases []struct{ Address, MAC, Machine, State string }
	if err := json.Unmarshal([]byte(said(append([]string{"leases", "--json"}, with...)...)), &leases); err != nil {
		t.Fatal(err)
	}
	if len(leases) != 1 || !strings.HasPrefix(leases[0].Address, "fd77::1:") || leases[0].MAC != machineMAC || leases[0].Machine != "demo-machine" || leases[0].State != "bound" {
		t.Errorf("the firmware's leases are %+v, want one of the machine", leases)
	}
	t.Log(said(append([]string{"leases"}, with...)...) + said(append([]string{"subnet", "ls"}, with...)...))
	said(append([]string{"leases", "release", machineMAC}, with...)...)
	if out := said(append([]string{"leases"}, with...)...); strings.Contains(out, machineMAC) {
		t.Errorf("after its release there is\n%s", out)
	}
}
