package loaderconf

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/fleet"
)

func TestNamesThatLoadersAskFor(t *testing.T) {
	const mac, uuid = "52:54:00:12:34:56", "7726a678-7fc0-4853-a4f6-c85ac36a120a"
	for name, want := range map[string]Asked{
		"autoexec.ipxe":                         {Kind: Autoexec},
		"/autoexec.ipxe":                        {Kind: Autoexec},
		"/loaders/autoexec.ipxe":                {Kind: Autoexec},
		"/etc/autoexec.ipxe":                    {},
		"grub.cfg":                              {Kind: GRUB},
		"/boot/grub/x86_64-efi/grub.cfg":        {Kind: GRUB},
		"grub/grub.cfg-" + uuid:                 {Kind: GRUB, ID: fleet.Identity{UUID: uuid}},
		"grub/grub.cfg-01-52-54-00-12-34-56":    {Kind: GRUB, ID: fleet.Identity{MAC: mac}},
		"EFI/debian/grub.cfg-52-54-00-12-34-56": {Kind: GRUB, ID: fleet.Identity{MAC: mac}},
		"grub.cfg-0A000082":                     {Kind: GRUB},
		"grub.cfg-0A0":                          {Kind: GRUB},
		"grub.cfg-0a000082":                     {},
		"grub.cfg-52:54:00:12:34:56":            {},
		"grub.cfg-02-52-54-00-12-34-56":         {},
		"grub/../grub.cfg":                      {},
		"//grub.cfg":                            {Kind: GRUB},
		"d3a1b2c4/config.txt":                   {Kind: PiConfig},
		"config.txt":                            {Kind: PiConfig},
		"52-54-00-12-34-56/cmdline.txt":         {Kind: PiCmdline, ID: fleet.Identity{MAC: mac}},
		"d3a1b2c4/kiln-kernel":                  {Kind: PiKernel},
		"d3a1b2c4/kiln-initrd12":                {Kind: PiInitrd, Number: 12},
		"d3a1b2c4/kiln-initrd123":               {},
		"d3a1b2c4/start4.elf":                   {Kind: PiFirmware, File: "start4.elf"},
		"start4.elf":                            {Kind: PiFirmware, File: "start4.elf"},
		"overlays/vc4-kms-v3d.dtbo":             {Kind: PiFirmware, File: "vc4-kms-v3d.dtbo"},
		"other/start4.elf":                      {},
		"d3a1b2c4/vmlinuz":                      {},
		"":                                      {},
		"/":                                     {},
		strings.Repeat("a/", 200) + "grub.cfg":  {},
	} {
		if got := Parse(name); got != want {
			t.Errorf("%q: got %+v, want %+v", name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("grub/grub.cfg-01-52-54-00-12-34-56")
	f.Add("d3a1b2c4/start4.elf")
	f.Add("/loaders/autoexec.ipxe")
	f.Fuzz(func(t *testing.T, name string) {
		if a := Parse(name); strings.ContainsAny(a.File, "/\\\x00") || strings.HasPrefix(a.File, ".") || a.Number > 99 {
			t.Errorf("%q becomes %+v", name, a)
		}
	})
}

// GRUB's own parser takes what is written for it, whatever an operator's words are.
func TestGRUBReadsItsConfiguration(t *testing.T) {
	check, err := exec.LookPath("grub-script-check")
	if err != nil {
		t.Skip("grub-script-check is not installed; `make test` installs it, or run: apt-get install --no-install-recommends grub-common")
	}
	p := Platform{Kernel: "files/T/k", Initrds: []string{"files/T/a", "files/T/b"}, Cmdline: `kiln.config=http://10.0.0.1:7380/m/T ds=nocloud;s=http://x/ a="b` + "` $c & | < > { } it's \\"}
	for name, config := range map[string]string{
		"two architectures": GRUBConfig("web boots 'v1'; reboot", map[string]Platform{"amd64": p, "arm64": {Kernel: "files/T/k", Cmdline: "quiet"}}, []string{"http://10.0.0.1:7380", "http://[fd00::1]"}),
		"a unified image":   GRUBConfig("web", map[string]Platform{"amd64": {UKI: "uki/52:54:00:12:34:56.efi?arch=amd64"}}, []string{"http://10.0.0.1:7380"}),
		"a disk":            GRUBDisk,
		"nothing":           GRUBWait("nobody described this machine; it's \"new\""),
	} {
		cmd := exec.CommandContext(t.Context(), check)
		cmd.Stdin = strings.NewReader(config)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s\n%s", name, err, out, config)
		}
	}
	got := GRUBConfig("web boots v1", map[string]Platform{"amd64": p}, []string{"http://10.0.0.1:7380"})
	for _, want := range []string{
		"echo 'Kiln: web_boots_v1'\n", "linux '(http,10.0.0.1:7380)/files/T/k' 'kiln.config=http://10.0.0.1:7380/m/T' 'ds=nocloud;s=http://x/'", `'it'\''s'`,
		"initrd '(http,10.0.0.1:7380)/files/T/a' '(http,10.0.0.1:7380)/files/T/b'; then boot; fi\n", "linux '(tftp,10.0.0.1)/files/T/k' ", "there is nothing to boot for arm64",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q:\n%s", want, got)
		}
	}
}

func TestTextsOfOtherLoaders(t *testing.T) {
	if got, want := PiConfigText(2), "# Kiln\narm_64bit=1\nenable_uart=1\nkernel=kiln-kernel\ncmdline=cmdline.txt\ninitramfs kiln-initrd0,kiln-initrd1 followkernel\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got, err := UBootConfig("pi boots v1", Platform{Kernel: "files/T/k", Initrds: []string{"files/T/a"}, Cmdline: "a\nb  c"})
	if want := "DEFAULT kiln\nPROMPT 0\nLABEL kiln\nSAY Kiln: pi_boots_v1\nKERNEL files/T/k\nINITRD files/T/a\nAPPEND a b c\n"; err != nil || got != want {
		t.Errorf("got %q %v, want %q", got, err, want)
	}
	if _, err := UBootConfig("pi", Platform{Initrds: []string{"a", "b"}}); err == nil || !strings.Contains(err.Error(), "U-Boot takes one initrd, and the release has 2") {
		t.Errorf("got %v", err)
	}
	if got, want := AutoexecScript("#!ipxe\necho x\n"), "#!ipxe\ndhcp ||\necho x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
