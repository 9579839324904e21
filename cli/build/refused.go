package build

import (
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
)

// Flags of linuxkit build that Kiln does not have, and what to do instead.
var refusedFlags = []struct {
	name     string
	boolean  bool
	sentence string
}{
	{"docker", true, "images in docker's own store are not looked at: run docker save IMAGE -o FILE.tar and kiln cache import FILE.tar"},
	{"size", false, "disks are as small as they can be; --disk-size makes them larger"},
	{"input-tar", false, "the cache already keeps every part that did not change: leave the flag out"},
	{"sbom-output", false, "the SBOM is always called sbom.spdx.json; --no-sbom leaves it out"},
	{"sbom-current-time", true, "the SBOM is the same for the same input, so it holds no time of its making: leave the flag out"},
	{"cert-file", false, "put certificates of a registry into /etc/docker/certs.d/HOST/NAME.crt, or name a file in SSL_CERT_FILE"},
	{"quiet", true, "use --progress plain, or send standard error elsewhere"},
	{"verbose", false, "use --progress plain, which prints what every step says"},
	{"disable-content-trust", true, "content trust is no part of LinuxKit any more; kiln lock pins images by digest"},
}

// refusedFlag is a flag that exists only to be refused.
type refusedFlag struct{ name, sentence string }

func (f *refusedFlag) String() string { return "" }
func (f *refusedFlag) Type() string   { return "string" }

// Set implements pflag.Value.
func (f *refusedFlag) Set(string) error {
	return ui.Usagef("--%s is LinuxKit's and not Kiln's: %s", f.name, f.sentence)
}

func addRefused(flags *pflag.FlagSet) {
	for _, r := range refusedFlags {
		flags.Var(&refusedFlag{r.name, r.sentence}, r.name, "")
		flag := flags.Lookup(r.name)
		flag.Hidden = true
		if r.boolean {
			flag.NoOptDefVal = "true"
		}
	}
}
