package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// ask runs a verb of kiln on the cache of the tests.
func (w *world) ask(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.run(t.Context(), w.kiln, append(args, "--cache", w.cache)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMachinesBootFromTheirOwnDisk: firmware that tries the network first goes on to the disk, whoever tells it to.
func TestMachinesBootFromTheirOwnDisk(t *testing.T) {
	full(t)
	w := prepared(t)
	r := newRoom(t)
	w.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo")
	disk := filepath.Join(w.build(t, append([]string{"--arch", "amd64", "--format", "raw-bios"}, loaders...)...), "hello-bios.img")
	w.apply(t, machineYAML("machine", fixedAddress, ""))
	w.ask(t, "machine", "local-disk", "demo-machine", "on")
	r.ip("addr add fd77::1/64 dev br0")
	for _, c := range []struct {
		name, dhcp string
		site       []string
		by         []string // what the machine says before
	}{
		{"DHCP of the edge says nothing to boot", "full", nil, nil},
		{"the script says so to iPXE", "off", advertised("--dhcp-boot=http://" + roomAddress + ":7380/boot.ipxe?mac=${mac}&uuid=${uuid}&arch=${buildarch}"), []string{"Kiln: booting from the local disk"}},
		{"the configuration says so to PXELINUX", "off", advertised("--dhcp-boot=pxelinux.0"), []string{"PXELINUX 6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.by != nil && strings.HasPrefix(c.by[0], "PXELINUX") {
				needPXELINUX(t)
			}
			r := r.during(t)
			if c.site != nil {
				r.site(c.site...)
			}
			r.start("listening", w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", c.dhcp)
			machine := seabios(r.tap(), "-boot", "order=nc", "-drive", "if=virtio,format=raw,snapshot=on,file="+disk)
			said := boot(t, r.in(machine...), append(c.by, milestones("x86_64")...))
			notBy(t, "KILN-CONFIGURED", said)
		})
	}
}

// TestAReleaseForTheNextBootOnly: the machine boots it, and then again what its group says.
func TestAReleaseForTheNextBootOnly(t *testing.T) {
	full(t)
	w := prepared(t)
	r := newRoom(t)
	w.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo")
	w.apply(t, machineYAML("machine", fixedAddress, "")+"  - {name: rescue, build: machine}\n")
	r.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", "full")
	w.ask(t, "machine", "boot-once", "demo-machine", "rescue")
	for _, release := range []string{"rescue", "machine"} {
		if said := w.ask(t, "machine", "show", "demo-machine"); !strings.Contains(said, "boots    "+release) {
			t.Fatalf("the machine is to boot %s next, and kiln machine show says:\n%s", release, said)
		}
		boot(t, r.in(seabios(r.tap())...), append([]string{"Kiln: demo-machine boots " + release}, configured...))
	}
}

// TestMachinesThatNobodyDescribed boot nothing until a group says so, and are listed.
func TestMachinesThatNobodyDescribed(t *testing.T) {
	full(t)
	w := prepared(t)
	r := newRoom(t)
	h := r.host("edge", edgeAddress)
	w.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo")
	r.site("--no-ping")
	log := h.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "eth0", "--dhcp", "proxy")
	const mac = "52:54:00:77:00:01"
	stranger := func(tap string) []string {
		return r.in(strings.Split(strings.ReplaceAll(strings.Join(seabios(tap), "\n"), machineMAC, mac), "\n")...)
	}

	w.apply(t, machineYAML("machine", "", ""))
	said := machineSays(t, stranger(r.tap()), "No bootable device")
	notBy(t, "Kiln:", []string{said})
	if list := w.ask(t, "machines"); !strings.Contains(list, mac) || !strings.Contains(list, "nobody described this machine") {
		t.Errorf("kiln machines does not list the stranger %s:\n%s", mac, list)
	}

	w.apply(t, strings.Replace(machineYAML("machine", "", ""), "releases:", "  - {name: others, priority: -1, selector: {role: none}, unknown: true, release: machine}\nreleases:", 1))
	waitFor(t, log, "groups=2")
	boot(t, stranger(r.tap()), []string{"Kiln: unknown-525400770001 boots machine", "[onboot 000-configure] KILN-CONFIGURED unknown-525400770001", "KILN-SERVICE-UP", "[init] power off after"})
}
