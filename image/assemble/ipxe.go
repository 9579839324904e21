package assemble

import (
	"net/url"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/ipxe"
)

func (b *assembly) ipxe(params *step.ArtifactParams) {
	script, err := bootScript(params.Name, params.Text)
	if err != nil {
		b.err = err
		return
	}
	b.inline([]byte(script))
}

// bootScript is an iPXE script that boots the kernel and the initrd from beside itself.
func bootScript(name, cmdline string) (string, error) {
	args, err := ipxe.Arguments(cmdline)
	if err != nil {
		return "", &step.Failure{Err: err}
	}
	at := "./" + url.PathEscape(name) // a name with a colon is no scheme
	return "#!ipxe\n" +
		"kernel --name kernel " + at + "-kernel initrd=initrd.img" + args + "\n" +
		"initrd --name initrd.img " + at + "-initrd.img\n" +
		"boot\n", nil
}
