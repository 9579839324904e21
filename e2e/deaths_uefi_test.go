package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/internal/lab"
)

// onCable has a machine's arguments name its cable in place of a network device, and lets it start anew.
func onCable(args []string) []string {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "-no-reboot" })
	for i, a := range args {
		if strings.HasPrefix(a, "tap,id=n0,") {
			args[i] = "socket,id=n0,fd=3"
		}
	}
	return args
}

// amidTFTP is when so many bytes have come by TFTP.
func amidTFTP(most int) moment {
	return func(edge netip.Addr) func(lab.Packet) bool {
		got := 0
		return func(p lab.Packet) bool {
			if p.ToMachine && !p.TCP && p.From.Addr() == edge && p.From.Port() != fromServer {
				got += len(p.Payload)
			}
			return got >= most
		}
	}
}

// midTFTP is less than iPXE has bytes, which is fetched where Debian's package ipxe is installed, and than an image.
const midTFTP = 64 << 10

// TestAnEdgeDiesInTheMiddleOfTFTP: UEFI's own network stack fetches iPXE or a unified kernel image, and its edge dies. The
// firmware goes on with its other ways to boot.
func TestAnEdgeDiesInTheMiddleOfTFTP(t *testing.T) {
	full(t)
	p := newPair(t, 1)
	needFirmware(t, "amd64")
	p.inFarm(t)
	p.survives(t, amidTFTP(midTFTP), false, func() error { return p.first.Kill() }, onCable(x86(ovmf(t, "none", "")...)))
}
