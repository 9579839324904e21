package machines

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/ipxe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Script is the script of a machine that has a release, which asks from source and reaches those edges.
func (m *Machines) Script(source netip.Addr, edges []string, boot *fleet.Boot, arch string, event *kilnv1.BootEvent) (string, error) {
	files, err := boot.Files(Arch(arch))
	if err != nil {
		return "", err
	}
	if boot.UKI || files.GetKernel() == nil && files.GetUki() != nil {
		event.Detail = "release " + boot.Release.GetName() + " as a unified kernel image"
		return ukiScript(boot, edges, Arch(arch))
	}
	if files.GetKernel() == nil {
		return "", fmt.Errorf("release %s has no kernel for %s; build kernel+initrd", boot.Release.GetName(), Arch(arch))
	}
	token, id, err := m.Token(source, boot)
	if err != nil {
		return "", err
	}
	line, err := boot.Cmdline(files, m.KnownAddress(boot, source))
	if err != nil {
		return "", err
	}
	event.Boot, event.Files, event.Detail = id, FilesNamed(files), "release "+boot.Release.GetName()
	if boot.Once {
		event.Once = boot.Release.GetName()
		event.Detail += " (once)"
	}
	return machineScript(Boot{
		Name: boot.Name(), Release: boot.Release.GetName(), Files: files, Cmdline: line, Token: token, Edges: edges,
	})
}

// Boot is what a boot loader is told of a boot.
type Boot struct {
	Name, Release string
	Files         *kilnv1.ReleaseFiles
	Cmdline       string
	Token         string
	Edges         []string
}

// machineScript boots a kernel and initrds. An edge may die at any moment: what it did not give, and all after that, comes
// from the next one, and when there is none the machine starts anew.
func machineScript(s Boot) (string, error) {
	line, err := fleet.KernelLine(s.Cmdline, s.Token, s.Edges, fleet.InitrdWords(s.Files))
	if err != nil {
		return "", err
	}
	args, err := ipxe.Arguments(line)
	if err != nil {
		return "", err
	}
	path := func(ref *kilnv1.FileRef) string {
		return "/files/" + s.Token + "/" + strings.ReplaceAll(ref.GetDigest(), ":", "%3A")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!ipxe\necho Kiln: %s boots %s\n", ipxe.Printable(s.Name), ipxe.Printable(s.Release))
	for n, edge := range s.Edges {
		fetch := func(file int, command string) {
			next := fmt.Sprintf("edge%d_%d", n+1, file)
			if n+1 == len(s.Edges) {
				next = "again"
			}
			fmt.Fprintf(&b, ":edge%d_%d\n%s || goto %s\n", n, file, command, next)
		}
		fetch(0, "kernel "+patience+" --name kernel "+edge+path(s.Files.GetKernel())+args)
		for i, ref := range s.Files.GetInitrds() {
			fetch(i+1, fmt.Sprintf("initrd %s --name initrd%d %s", patience, i, edge+path(ref)))
		}
		b.WriteString("boot || goto again\n")
	}
	b.WriteString(":again\nimgfree\necho Kiln: no edge gave all files; starting anew\nsleep 2\n" + autoboot)
	return b.String(), nil
}

// ukiScript has an iPXE of UEFI start the unified kernel image, which the firmware verifies.
func ukiScript(boot *fleet.Boot, edges []string, arch string) (string, error) {
	macs := boot.MACs()
	if len(macs) == 0 {
		return "", fmt.Errorf("machine %s has no MAC, by which its unified kernel image is named; describe it with one", boot.Name())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!ipxe\necho Kiln: %s boots %s\n", ipxe.Printable(boot.Name()), ipxe.Printable(boot.Release.GetName()))
	for _, e := range edges {
		fmt.Fprintf(&b, "chain %s/%s%s.efi?arch=%s || ", e, UKIPath, macs[0], arch)
	}
	b.WriteString("echo Kiln: no edge gave an image that this firmware starts; starting anew\nsleep 15\n" + autoboot)
	return b.String(), nil
}

// patience bounds the milliseconds in which nothing of a file comes: iPXE waits for ever when an edge stands still, or its
// host has died, and the connection was there already.
const patience = "--timeout 15000"

// autoboot starts anew with DHCP, so that another edge may answer. A script that is not replaced waits for the one that it
// chains to, and there is no end to these.
const autoboot = "dhcp && isset ${filename} && chain --replace " + patience + " ${filename} || reboot\n"

// DiskScript leaves the network: firmware goes on with the next device.
const DiskScript = "#!ipxe\necho Kiln: booting from the local disk\nexit 1\n"

// WaitScript says why nothing boots, and asks again later.
func WaitScript(why string) string {
	return "#!ipxe\necho Kiln: " + ipxe.Printable(strings.ReplaceAll(why, " ", "_")) + "\nsleep 15\n" + autoboot
}
