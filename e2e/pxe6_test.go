package e2e

import (
	"os"
	"testing"
	"time"
)

const roomAddress6 = "fd77::1"

// newRoom6 makes a room in which nothing speaks IPv4.
func newRoom6(t *testing.T) *room {
	t.Helper()
	r := newRoom(t)
	r.ip("addr del " + roomAddress + "/24 dev br0")
	r.ip("addr add " + roomAddress6 + "/64 dev br0 nodad")
	return r
}

// limit6 is for boots that wait for IPv4 first: OVMF cannot be told to leave out HTTP over IPv4, which takes it 80 s, and iPXE looks
// for a DHCP server for 18 s.
const limit6 = 5 * time.Minute

const (
	kernelAndInitrd = "kernel+initrd"
	unified         = "uki"
)

// unconfigured is what a machine says that boots a unified kernel image in a room without IPv4: nobody can tell that image where
// its configuration is.
var unconfigured = []string{"[onboot 000-configure] KILN-UNCONFIGURED", "KILN-SERVICE-UP", "[init] power off after"}

// netboots6 are firmwares that boot over IPv6: over iPXE, its script and the kernel to the machine's configuration, or straight
// to a unified kernel image.
var netboots6 = []struct {
	name   string
	format string
	edge   []string // its flags
	args   func(t *testing.T, tap string) []string
	want   []string
}{
	{"OVMF PXE", kernelAndInitrd, []string{"--dhcp6", "full", "--autoconf", "yes"}, ovmfPXE6, configured},
	{"OVMF PXE of a unified kernel image", unified, []string{"--dhcp6", "full"}, ovmfPXE6, unconfigured},
	{"OVMF HTTP boot", kernelAndInitrd, []string{"--dhcp6", "full", "--autoconf", "yes"}, ovmfHTTP6, configured},
	{"OVMF HTTP boot of a unified kernel image", unified, []string{"--dhcp6", "full"}, ovmfHTTP6, unconfigured},
	{"SeaBIOS with iPXE that is given its address", kernelAndInitrd, []string{"--dhcp6", "full", "--autoconf", "yes"}, romWithIPXE, configured},
	{"SeaBIOS with iPXE that makes its address", kernelAndInitrd, []string{"--dhcp6", "stateless"}, romWithIPXE, configured},
}

func ovmfPXE6(t *testing.T, tap string) []string {
	return x86(append(ovmf(t, tap, ""), noPXE("4")...)...)
}

func ovmfHTTP6(t *testing.T, tap string) []string {
	return x86(append(append(ovmf(t, tap, ""), noPXE("4")...), noPXE("6")...)...)
}

// noPXE has OVMF leave out its own PXE over IPv4 or IPv6, which would wait for minutes.
func noPXE(version string) []string {
	return []string{"-fw_cfg", "name=opt/org.tianocore/IPv" + version + "PXESupport,string=n"}
}

func romWithIPXE(_ *testing.T, tap string) []string {
	return x86("-boot", "n", "-netdev", "tap,id=n0,ifname="+tap+",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,mac="+machineMAC)
}

// TestMachinesBootOverIPv6 is TestMachinesBootFromTheNetwork in a room without IPv4. The machines' Linux has no DHCPv6 client, so
// that the edge lets it make itself an address.
func TestMachinesBootOverIPv6(t *testing.T) {
	full(t)
	w := prepared(t)
	for _, c := range netboots6 {
		t.Run(c.name, func(t *testing.T) {
			needFirmware(t, "amd64")
			needLoader(t)
			w.describe6(t, c.format)
			r := newRoom6(t)
			r.start("machines boot here over IPv6", append([]string{w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", "off"}, c.edge...)...)
			bootWithin(t, limit6, r.in(c.args(t, r.tap())...), c.want)
		})
	}
}

// describe6 builds the example in one format only, so that it is that one which is booted.
func (w *world) describe6(t *testing.T, format string) {
	t.Helper()
	w.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", format, "--boot", "kiln.example/boot:demo")
	if out, err := w.run(t.Context(), w.kiln, "apply", "--cache", w.cache, "--prune", "-f", "examples/machines.yml"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// needLoader skips without the iPXE that UEFI firmware starts.
func needLoader(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/usr/lib/ipxe/snponly.efi"); err != nil {
		t.Skip("snponly.efi is not there; run: apt-get install --no-install-recommends ipxe")
	}
}
