package pxe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/edge/tftp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What loaders ask for by themselves is what the machine that asks boots, by TFTP and by HTTP.
func TestWhatLoadersAskForByThemselves(t *testing.T) {
	r := newRoomOf(t)
	const board = "52:54:00:00:00:07"
	r.Change(func(in *kilnv1.Intent) {
		f := proto.CloneOf(in.Releases[0].Platforms["linux/amd64"])
		f.Initrds, f.Uki = f.Initrds[:1], nil
		in.Releases = append(in.Releases, &kilnv1.Release{Name: "arm", Platforms: map[string]*kilnv1.ReleaseFiles{"linux/arm64": f}})
		in.Machines = append(in.Machines, &kilnv1.Machine{Name: "pi", Macs: []string{board}, Labels: map[string]string{"role": "pi"}})
		in.Groups = append(in.Groups, &kilnv1.Group{Name: "pi", Selector: map[string]string{"role": "pi"}, Release: "arm"})
	})
	firmware := filepath.Join(t.TempDir(), "start4.elf")
	if err := os.WriteFile(firmware, []byte("firmware"), 0o600); err != nil {
		t.Fatal(err)
	}
	see := func(mac, address string) {
		r.Seen.Gave(mac, netip.MustParsePrefix(address+"/24"), time.Now().Add(time.Hour))
	}
	see(known, "10.0.0.21")
	see(board, "10.0.0.22")
	see(onDisk, "10.0.0.23")
	see(stranger, "10.0.0.24")
	p := r.tftp(map[string]string{"start4.elf": firmware})
	for _, c := range []struct{ name, file, from, want string }{
		{"iPXE's script", "autoexec.ipxe", "10.0.0.21", "#!ipxe\ndhcp ||\necho Kiln: web boots v1\n:edge0_0\nkernel "},
		{"iPXE's script, of whom nobody knows", "autoexec.ipxe", "10.0.0.99", "chain --replace --timeout 15000 http://10.0.0.1:7380/boot.ipxe?mac=${netX/mac}&uuid=${uuid}&arch=${buildarch} ||\n"},
		{"iPXE's script, of one that boots from its disk", "autoexec.ipxe", "10.0.0.23", "exit 1"},
		{"iPXE's script, of one that nobody described", "autoexec.ipxe", "10.0.0.24", "nobody_described_this_machine"},
		{"iPXE's script on arm64", "autoexec.ipxe", "10.0.0.22", "Kiln: pi boots arm\n"},
		{"GRUB by its MAC", "grub/grub.cfg-01-" + dashed(known), "10.0.0.99", "linux '(http,10.0.0.1:7380)/files/"},
		{"GRUB by its address", "grub/grub.cfg-0A000015", "10.0.0.21", "'console=ttyS0' 'group=1'; then\n    if initrd '(http,"},
		{"GRUB's last name", "boot/grub/grub.cfg", "10.0.0.21", "Kiln: web_boots_v1"},
		{"GRUB's last name, of whom nobody knows", "grub.cfg", "10.0.0.99", ""},
		{"GRUB of one that boots from its disk", "grub.cfg", "10.0.0.23", "booting from the local disk"},
		{"GRUB of one that nobody described", "grub.cfg-01-" + dashed(stranger), "10.0.0.99", "nobody_described_this_machine"},
		{"GRUB's UUID of nobody", "grub.cfg-7726a678-7fc0-4853-a4f6-c85ac36a120a", "10.0.0.21", ""},
		{"U-Boot by its MAC", "pxelinux.cfg/01-" + dashed(board), "10.0.0.99", "LABEL kiln\nSAY Kiln: pi_boots_arm\nKERNEL files/"},
		{"U-Boot by its board", "pxelinux.cfg/default-arm-bcm283x-rpi", "10.0.0.22", "\nAPPEND kiln.config=http://10.0.0.1:7380/m/"},
		{"PXELINUX", "pxelinux.cfg/01-" + dashed(known), "10.0.0.99", "DEFAULT kiln0\n"},
		{"a Raspberry Pi's configuration", "d3a1b2c4/config.txt", "10.0.0.22", "initramfs kiln-initrd0 followkernel\n"},
		{"a Raspberry Pi's command line", "d3a1b2c4/cmdline.txt", "10.0.0.22", "kiln.config=http://10.0.0.1:7380/m/"},
		{"a Raspberry Pi's kernel", "d3a1b2c4/kiln-kernel", "10.0.0.22", "the kernel"},
		{"a Raspberry Pi's initrd", "d3a1b2c4/kiln-initrd0", "10.0.0.22", "first"},
		{"a Raspberry Pi's second initrd", "d3a1b2c4/kiln-initrd1", "10.0.0.22", ""},
		{"a Raspberry Pi's firmware", "d3a1b2c4/start4.elf", "10.0.0.22", "firmware"},
		{"firmware that there is not", "d3a1b2c4/fixup4.dat", "10.0.0.22", ""},
		{"a Raspberry Pi's configuration, of a PC", "config.txt", "10.0.0.21", ""},
		{"a Raspberry Pi of whom nobody knows", "d3a1b2c4/config.txt", "10.0.0.99", ""},
	} {
		if got := byTFTP(t, p, c.file, c.from); got == "" && c.want != "" || c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is answered with %q, want %q", c.name, c.file, got, c.want)
		}
	}
	for path, want := range map[string]string{
		"/autoexec.ipxe":                         "Kiln: web boots v1",
		"/loaders/autoexec.ipxe":                 "Kiln: web boots v1",
		"/loaders/grub.cfg-01-" + dashed(known):  "Kiln: web_boots_v1",
		"/EFI/debian/grub.cfg":                   "Kiln: web_boots_v1",
		"/loaders/start5.elf":                    "there is no such boot program here",
		"/loaders/grub.cfg-01-ff-ff-ff-ff-ff-ff": "there is no such boot program here",
	} {
		if got := r.Get(path, "10.0.0.21").Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// A boot by GRUB is one boot in the timeline, and names that there are not are no events.
func TestBootsByNamesAreTold(t *testing.T) {
	r := newRoomOf(t)
	r.Seen.Gave(known, netip.MustParsePrefix("10.0.0.21/24"), time.Now().Add(time.Hour))
	p := r.tftp(nil)
	from := netip.MustParseAddrPort("10.0.0.21:2070")
	script := byTFTP(t, p, "grub.cfg-01-"+dashed(known), "10.0.0.21")
	p.Sent(tftp.Transfer{Name: "grub.cfg-01-" + dashed(known), Client: from, Bytes: 1})
	byTFTP(t, p, "grub.cfg-7726a678-7fc0-4853-a4f6-c85ac36a120a", "10.0.0.21")
	fetched := 0
	for word := range strings.FieldsSeq(script) {
		if path, ok := strings.CutPrefix(strings.TrimRight(word, "';"), "'(http,10.0.0.1:7380)"); ok && strings.HasPrefix(path, "/files/") {
			fetched++
			r.Get(path, "10.0.0.21")
		}
	}
	boots := map[string]bool{}
	var stages []string
	for _, e := range r.Happened() {
		boots[e.GetBoot()] = true
		stages = append(stages, strings.TrimPrefix(e.GetStage().String(), "BOOT_STAGE_"))
	}
	if got := strings.Join(stages, " "); got != "SCRIPT KERNEL INITRD INITRD" || len(boots) != 1 || fetched != 3 {
		t.Errorf("events %s of %d boots, %d files", got, len(boots), fetched)
	}
}
