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

// httpLimit is for firmware that tries HTTP over IPv4 first, for 80 s, which OVMF cannot be told to leave out.
const httpLimit = 5 * time.Minute

// netboots6 are firmwares that boot over IPv6: all of them over iPXE, its script and the kernel to the machine's configuration.
var netboots6 = []struct {
	name  string
	edge  []string // its flags
	limit time.Duration
	args  func(t *testing.T, tap string) []string
}{
	{"OVMF PXE", []string{"--dhcp6", "full", "--autoconf", "yes"}, bootLimit, func(t *testing.T, tap string) []string {
		return x86(append(ovmf(t, tap, ""), noPXE("4")...)...)
	}},
	{"OVMF HTTP boot", []string{"--dhcp6", "full", "--autoconf", "yes"}, httpLimit, func(t *testing.T, tap string) []string {
		return x86(append(append(ovmf(t, tap, ""), noPXE("4")...), noPXE("6")...)...)
	}},
	{"SeaBIOS with iPXE that is given its address", []string{"--dhcp6", "full", "--autoconf", "yes"}, bootLimit, romWithIPXE},
	{"SeaBIOS with iPXE that makes its address", []string{"--dhcp6", "stateless"}, bootLimit, romWithIPXE},
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
	w.describe6(t)
	for _, c := range netboots6 {
		t.Run(c.name, func(t *testing.T) {
			needFirmware(t, "amd64")
			needLoader(t)
			r := newRoom6(t)
			r.start("machines boot here over IPv6", append([]string{w.kiln, "edge", "--cache", w.cache, "--interface", "br0", "--dhcp", "off"}, c.edge...)...)
			bootWithin(t, c.limit, r.in(c.args(t, r.tap())...), configured)
		})
	}
}

// describe6 builds the example without a unified kernel image, which cannot be told where its configuration is over IPv6.
func (w *world) describe6(t *testing.T) {
	t.Helper()
	w.buildFile(t, "examples/machine.yml", "--arch", "amd64", "--format", "kernel+initrd")
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
