package loaderconf

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/kiln-farm/kiln/internal/ipxe"
)

// Platform is what a machine of one architecture boots.
type Platform struct {
	Kernel  string   // path below an edge, without the first slash
	Initrds []string // likewise
	Cmdline string
	UKI     string // path of a unified kernel image, which is booted instead
}

// GRUBConfig boots a machine by GRUB: by HTTP, and where that fails or GRUB has none, by TFTP, from the edges one after the other.
// It knows its processor itself. An architecture that is missing has nothing to boot; none: the firmware goes on with the next device.
func GRUBConfig(title string, platforms map[string]Platform, edges []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "echo 'Kiln: %s'\ninsmod http\ninsmod tftp\n", ipxe.Printable(strings.ReplaceAll(title, " ", "_")))
	for i, arch := range []string{"arm64", "amd64"} {
		fmt.Fprint(&b, []string{"if [ \"$grub_cpu\" = arm64 ]; then\n", "else\n"}[i])
		p, ok := platforms[arch]
		if !ok {
			fmt.Fprintf(&b, "  echo 'Kiln: there is nothing to boot for %s'\n", arch)
		}
		for _, e := range edges {
			if ok {
				p.grub(&b, e)
			}
		}
	}
	b.WriteString("fi\necho 'Kiln: no edge gave all files; starting anew'\nsleep 15\nreboot\n")
	return b.String()
}

// grub tries one edge.
func (p Platform) grub(b *strings.Builder, edge string) {
	u, err := url.Parse(edge)
	if err != nil {
		return
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	devices := []string{"(http," + net.JoinHostPort(u.Hostname(), port) + ")"}
	if p.UKI != "" {
		fmt.Fprintf(b, "  if chainloader %s; then boot; fi\n", quoted(devices[0]+"/"+p.UKI))
		return
	}
	for _, d := range append(devices, "(tftp,"+u.Hostname()+")") {
		words := []string{"linux", quoted(d + "/" + p.Kernel)}
		for w := range strings.FieldsSeq(p.Cmdline) {
			words = append(words, quoted(w))
		}
		load := strings.Join(words, " ")
		if len(p.Initrds) > 0 {
			load += "; then\n    if initrd"
			for _, i := range p.Initrds {
				load += " " + quoted(d+"/"+i)
			}
			fmt.Fprintf(b, "  if %s; then boot; fi\n  fi\n", load)
			continue
		}
		fmt.Fprintf(b, "  if %s; then boot; fi\n", load)
	}
}

// quoted is a word that GRUB takes as it is (GRUB manual, "Quoting").
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// GRUBDisk has the firmware go on with the next device.
const GRUBDisk = "echo 'Kiln: booting from the local disk'\nexit\n"

// GRUBWait says why nothing boots, and starts anew later.
func GRUBWait(why string) string {
	return "echo 'Kiln: " + ipxe.Printable(strings.ReplaceAll(why, " ", "_")) + "'\nsleep 15\nreboot\n"
}

const piKernel = "kiln-kernel"

// PiConfigText is a Raspberry Pi's config.txt: 64 bits, and its kernel and initrds under names that Parse knows.
func PiConfigText(initrds int) string {
	text := "# Kiln\narm_64bit=1\nenable_uart=1\nkernel=" + piKernel + "\ncmdline=cmdline.txt\n"
	if initrds > 0 {
		var names []string
		for i := range initrds {
			names = append(names, fmt.Sprintf("kiln-initrd%d", i))
		}
		text += "initramfs " + strings.Join(names, ",") + " followkernel\n"
	}
	return text
}

// UBootConfig is a configuration for U-Boot's pxe get: names are below the folder of its boot file, and there is one initrd at most
// (u-boot boot/pxe_utils.c).
func UBootConfig(title string, p Platform) (string, error) {
	if len(p.Initrds) > 1 {
		return "", fmt.Errorf("U-Boot takes one initrd, and the release has %d; put them into one file, or boot with UEFI", len(p.Initrds))
	}
	text := "DEFAULT kiln\nPROMPT 0\nLABEL kiln\nSAY Kiln: " + ipxe.Printable(strings.ReplaceAll(title, " ", "_")) + "\nKERNEL " + p.Kernel + "\n"
	for _, i := range p.Initrds {
		text += "INITRD " + i + "\n"
	}
	return text + "APPEND " + strings.Join(strings.Fields(p.Cmdline), " ") + "\n", nil
}

// AutoexecScript has an iPXE that knows its network card ask for its machine's script; then what stands behind it. An iPXE that starts
// has no address yet that it would use.
func AutoexecScript(script string) string {
	return "#!ipxe\ndhcp ||\n" + strings.TrimPrefix(script, "#!ipxe\n")
}

// AutoexecChain asks an edge for the script of whichever machine it is.
func AutoexecChain(edges []string, mac string) string {
	if mac == "" {
		mac = "${netX/mac}"
	}
	var b strings.Builder
	for _, e := range edges {
		fmt.Fprintf(&b, "chain --replace --timeout 15000 %s/boot.ipxe?mac=%s&uuid=${uuid}&arch=${buildarch} ||\n", e, mac)
	}
	return AutoexecScript(b.String() + "sleep 15\nreboot\n")
}
