package fleet

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/kiln-farm/kiln/fleet/templates"
	"github.com/kiln-farm/kiln/internal/ipxe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// maxCmdline is what a kernel takes in bytes; it cuts the rest. COMMAND_LINE_SIZE is 2048 with the NUL at the end, of x86
	// (arch/x86/include/asm/setup.h) and of arm64 (arch/arm64/include/uapi/asm/setup.h).
	maxCmdline = 2047
	// LongestLine is what of that is given to kernels: a boot loader may add some of its own.
	LongestLine = 2000
	// nocloudMode has cloud-init take the seed when there is a network. Without it the cloud-init of Debian 12 (22.4) finds the seed then,
	// and leaves it to the stage before, which reads none over a network.
	nocloudMode = ";dsmode=net"
	// assumedEdge stands for an edge's address where a command line is checked before anybody boots: as long as one of IPv4 gets.
	assumedEdge = "http://255.255.255.255:65535"
)

// cmdline is what somebody says of the kernel's command line.
type cmdline struct {
	text     string // a template
	from     string // "group web"
	replaces bool   // all that others said before
}

// CmdlineFault is what is wrong with somebody's part of a command line.
type CmdlineFault struct {
	From string // "group web"
	Err  error
}

func (f *CmdlineFault) Error() string { return "cmdline of " + f.From + ": " + f.Err.Error() }

// Unwrap gives the reason.
func (f *CmdlineFault) Unwrap() error { return f.Err }

// Cmdline is the kernel's command line, filled for the machine: the files', then the release's, those of the groups, the one that decides
// last, and the machine's. Address is what DHCP gave it; invalid: not known. The error is a *CmdlineFault.
func (b *Boot) Cmdline(f *kilnv1.ReleaseFiles, address netip.Prefix) (string, error) {
	return b.cmdlineBy(f, address, templates.Compile)
}

// cmdlineBy is Cmdline with another way to compile: who checks many machines compiles each text once.
func (b *Boot) cmdlineBy(f *kilnv1.ReleaseFiles, address netip.Prefix, compile func(string) (*templates.Template, error)) (string, error) {
	release := "release " + b.Release.GetName()
	all := append([]cmdline{{f.GetCmdline(), release, false}, {b.Release.GetCmdline(), release, b.Release.GetCmdlineReplaces()}}, b.cmdlines...)
	built := b.Release.GetBuild() != "" // what a build made is no template
	for i, part := range all {
		if i > 0 && part.replaces {
			for j := range i {
				all[j].text = ""
			}
		}
	}
	var words []string
	for i, part := range all {
		text := part.text
		if isTemplate(text) && !(built && i == 0) {
			t, err := compile(text)
			if err == nil {
				var out templates.Output
				out, err = t.Execute(b.Data(address))
				text = out.Text
			}
			if err != nil {
				return "", &CmdlineFault{part.from, err}
			}
		}
		if err := checkCmdline(text); err != nil {
			return "", &CmdlineFault{part.from, err}
		}
		if text = strings.TrimSpace(text); text != "" {
			words = append(words, text)
		}
	}
	return strings.Join(words, " "), nil
}

func isTemplate(text string) bool { return strings.Contains(text, "{{") }

// checkCmdline refuses what is no command line, or changed on its way to the kernel.
func checkCmdline(s string) error {
	if len(s) > maxCmdline {
		return fmt.Errorf("the command line has %d bytes, more than the %d that a kernel takes; shorten it", len(s), maxCmdline)
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return errors.New("the command line holds a control character; write it on one line, with spaces")
		}
	}
	for word := range strings.FieldsSeq(s) {
		// iPXE begins another command after the one and a comment with the other (its command_terminator).
		if word == ";" || word[0] == '#' {
			return fmt.Errorf("the command line holds the word %s, which iPXE takes for its own; change it", quote(word))
		}
	}
	_, err := ipxe.Arguments(s)
	return err
}

// KernelLine is the whole command line of a boot. First stands where the configuration is, with the boot's token, at each edge in this
// order, as far as there is room: what a kernel cuts is the end. There can be one seed for cloud-init only. Then come the words that
// the boot loader wants itself, and the machine's command line.
func KernelLine(cmdline, token string, edges []string, loader string) (string, error) {
	at := func(edge string) string { return edge + "/m/" + token }
	rest := " ds=nocloud;s=" + at(edges[0]) + "/nocloud/" + nocloudMode
	for _, more := range []string{loader, cmdline} {
		if more = strings.TrimSpace(more); more != "" {
			rest += " " + more
		}
	}
	line := "kiln.config=" + at(edges[0])
	if n := len(line) + len(rest); n > LongestLine {
		return "", tooLong(n)
	}
	for _, e := range edges[1:] {
		word := " kiln.config=" + at(e)
		if len(line)+len(word)+len(rest) > LongestLine {
			break
		}
		line += word
	}
	return line + rest, nil
}

// tooLong is that a command line has too many bytes.
type tooLong int

func (n tooLong) Error() string {
	return fmt.Sprintf("the kernel's command line has %d bytes with the address of its configuration and its token, more than the %d that reach a kernel for sure; shorten it, or replace a part of it (cmdline: {replace: …})", int(n), LongestLine)
}

// InitrdWords are what iPXE wants in a kernel's command line: the names that a script gives the initrds.
func InitrdWords(f *kilnv1.ReleaseFiles) string {
	var words []string
	for i := range f.GetInitrds() {
		words = append(words, fmt.Sprintf("initrd=initrd%d", i))
	}
	return strings.Join(words, " ")
}

// TokenLength is how long the token of a boot of a machine is, by the machine's Key.
func TokenLength(key string) int {
	const beside = 1 + 1 + 16 + 8 + 32 // version, flags, boot, expiry and code
	return base64.RawURLEncoding.EncodedLen(beside + len(key))
}
