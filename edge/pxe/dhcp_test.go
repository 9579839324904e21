package pxe

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// client is what Classify makes of a packet of a client.
func client(t *testing.T, mac string, message dhcpv4.MessageType, options ...dhcpv4.Option) dhcp.Client {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	p, err := dhcpv4.New(dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(message))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		p.UpdateOption(o)
	}
	c, err := dhcp.Classify(p.ToBytes(), dhcp.Ingress{Interface: "eth0", Port: dhcp.ServerPort, From: netip.MustParseAddrPort("0.0.0.0:68")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pxe(class string, arch byte) []dhcpv4.Option {
	return []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionClassIdentifier, []byte(class)), dhcpv4.OptGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, arch})}
}

func TestWhatFirmwareIsTold(t *testing.T) {
	r := newRoomOf(t)
	ipxe := append(pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{0x13, 1, 1}), dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))
	loaders := map[string]string{undi: "/x/" + undi, snp: "/x/" + snp}
	for _, c := range []struct {
		name    string
		mac     string
		full    bool
		loaders map[string]string
		options []dhcpv4.Option
		mode    dhcp.Mode
		file    string
	}{
		{"a BIOS", known, false, loaders, pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcp.Proxy, undi},
		{"a BIOS without iPXE here", known, false, nil, pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcp.Silent, ""},
		{"UEFI", known, false, loaders, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Proxy, snp},
		{"UEFI without iPXE here", known, true, nil, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Full, "uki/amd64/" + known + ".efi"},
		{"UEFI HTTP boot", known, false, nil, pxe("HTTPClient:Arch:00016:UNDI:003000", 16), dhcp.Proxy, "http://10.0.0.1:7380/uki/" + known + ".efi?arch=amd64"},
		{"iPXE", known, true, loaders, ipxe, dhcp.Full, "http://10.0.0.1:7380/boot.ipxe?mac=" + known + "&uuid=&arch=x86_64"},
		{"an operating system", known, true, loaders, nil, dhcp.Full, ""},
		{"an operating system where another server gives addresses", known, false, loaders, nil, dhcp.Silent, ""},
		{"a machine that boots from its disk", onDisk, false, loaders, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Silent, ""},
		{"a machine that nobody described", stranger, true, loaders, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Silent, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := r.dhcp(c.full, c.loaders)
			plan := p.Decide(t.Context(), client(t, c.mac, dhcpv4.MessageTypeDiscover, c.options...))
			if plan.Mode != c.mode || plan.Boot.File != c.file {
				t.Errorf("mode %v and file %q, want %v and %q", plan.Mode, plan.Boot.File, c.mode, c.file)
			}
			if c.mode == dhcp.Full && plan.Lease.Address.String() != "10.0.0.21/24" {
				t.Errorf("lease %+v", plan.Lease)
			}
		})
	}
	r.Happened()
}

// Machines of a group with "boot: uki" boot the unified kernel image, whatever loaders there are.
func TestMachinesThatBootTheirImageThemselves(t *testing.T) {
	r := newRoomOf(t)
	r.Change(func(in *kilnv1.Intent) { in.Groups[0].Boot = fleet.BootUKI })
	p := r.dhcp(false, map[string]string{undi: "/x", snp: "/x", pxelinux: "/x", ldlinux: "/x"})
	ipxe := func(class string, arch byte) []dhcpv4.Option {
		return append(pxe(class, arch), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{0x13, 1, 1}))
	}
	const url = "http://10.0.0.1:7380/uki/" + known + ".efi?arch=amd64"
	for _, c := range []struct {
		name    string
		options []dhcpv4.Option
		want    string
	}{
		{"UEFI", pxe("PXEClient:Arch:00007:UNDI:003000", 7), "uki/amd64/" + known + ".efi"},
		{"UEFI HTTP boot", pxe("HTTPClient:Arch:00016:UNDI:003000", 16), url},
		{"iPXE of UEFI", ipxe("PXEClient:Arch:00007:UNDI:003010", 7), url},
		{"a BIOS", pxe("PXEClient:Arch:00000:UNDI:002001", 0), ""},
		{"iPXE of a BIOS", ipxe("PXEClient:Arch:00000:UNDI:002001", 0), ""},
		{"UEFI of an architecture that the release does not have", pxe("PXEClient:Arch:00011:UNDI:003000", 11), ""},
	} {
		plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, c.options...))
		if plan.Boot.File != c.want {
			t.Errorf("%s: file %q, want %q", c.name, plan.Boot.File, c.want)
		}
	}
	script := r.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
	if !strings.Contains(script, "\nchain "+url+" || ") || strings.Contains(script, "kernel ") || strings.Contains(script, "/m/") {
		t.Errorf("the script:\n%s", script)
	}
	if config := byTFTP(t, r.tftp(nil), "pxelinux.cfg/01-"+dashed(known), "10.0.0.21"); !strings.Contains(config, "only_UEFI_firmware_does") || strings.Contains(config, "LINUX") {
		t.Errorf("PXELINUX is told:\n%s", config)
	}

	r.Change(func(in *kilnv1.Intent) { in.Groups[0].Boot = fleet.BootLoader })
	if plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, pxe("PXEClient:Arch:00007:UNDI:003000", 7)...)); plan.Boot.File != snp {
		t.Errorf("boot: loader is told %q, want %s", plan.Boot.File, snp)
	}
}

// A release for two architectures: each firmware gets the image of its own.
func TestImagesByTFTPAreOfTheFirmwaresArchitecture(t *testing.T) {
	r := newRoomOf(t)
	r.Change(func(in *kilnv1.Intent) {
		in.Releases[0].Platforms["linux/arm64"] = &kilnv1.ReleaseFiles{Uki: in.Releases[0].GetPlatforms()["linux/amd64"].GetInitrds()[0]}
	})
	p := r.dhcp(false, nil)
	for arch, want := range map[byte]string{7: "the UKI", 11: "first"} {
		plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, pxe("PXEClient", arch)...))
		if got := byTFTP(t, r.tftp(nil), plan.Boot.File, "10.0.0.21"); got != want {
			t.Errorf("architecture %d: %s holds %q, want %q", arch, plan.Boot.File, got, want)
		}
	}
}

func TestFilesByTFTP(t *testing.T) {
	r := newRoomOf(t)
	path := filepath.Join(t.TempDir(), undi)
	if err := os.WriteFile(path, []byte("iPXE"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := r.tftp(map[string]string{undi: path})
	for _, c := range []struct{ name, want string }{
		{undi, "iPXE"}, {"/" + undi, "iPXE"}, {"uki/amd64/" + known + ".efi", "the UKI"},
		{"../" + undi, ""}, {"uki/../../etc/passwd", ""}, {path, ""}, {"/etc/passwd", ""}, {"uki/amd64/" + stranger + ".efi", ""}, {"uki/amd64/" + onDisk + ".efi", ""}, {"", ""},
		{"uki/arm64/" + known + ".efi", ""}, {"uki/" + known + ".efi", ""}, {"uki/amd64/../" + known + ".efi", ""},
	} {
		f, err := p.Open(t.Context(), netip.AddrPort{}, c.name)
		if c.want == "" {
			if err == nil {
				t.Errorf("%q is given", c.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		got := make([]byte, f.Size())
		if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF || string(got) != c.want {
			t.Errorf("%q holds %q, %v", c.name, got, err)
		}
		f.Close()
	}
}

// An edge that starts where nobody else is boots machines from what it saw last.
