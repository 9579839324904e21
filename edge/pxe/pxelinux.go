package pxe

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/loaderconf"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/tftp"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/ipxe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// PXELINUX is for BIOS machines where iPXE is not wanted. It is told what to boot by a file that it asks for by names of its
// own, and fetches the kernel by TFTP, or by HTTP as lpxelinux.0.
const (
	pxelinux  = "pxelinux.0"
	lpxelinux = "lpxelinux.0"
	ldlinux   = "ldlinux.c32"   // the part of both that reads configurations
	overHTTP  = "http/"         // is before all names that an lpxelinux.0 asks for: it takes them from beside itself
	configDir = "pxelinux.cfg/" // behind which it looks for its configuration
	hexMAC    = "01-"           // is before a MAC: the hardware type of Ethernet
	lastName  = "default"       // that it asks for
	longName  = 254             // bytes of a file's name (FILENAME_MAX of Syslinux, less the zero byte)
	longLine  = 2047            // bytes of a command line (its MAX_CMDLINE_LEN, and the kernel's COMMAND_LINE_SIZE)
	askAgain  = 15 * 10         // tenths of a second, where nothing boots now
	tryAgain  = 3 * 10          // tenths of a second, where no edge gave all files
	localBoot = "LOCALBOOT 0\n" // firmware goes on with the next device
)

// asked is what a name means that PXELINUX asks for.
type asked struct {
	config  string         // the name below pxelinux.cfg; empty: it is a file
	id      fleet.Identity // that the name says
	address bool           // the name says no more than the client's address does
	token   string
	digest  string
	http    bool
	arch    string // that the name says; empty: PXELINUX, or a U-Boot that says no more than its MAC
}

var hexAddress = regexp.MustCompile(`^[0-9A-F]{1,8}$`)

// parseAsked reads a name. What it returns is not a path, and is looked up among what there is.
func parseAsked(name string) (asked, bool) {
	var a asked
	name, a.http = strings.CutPrefix(name, overHTTP)
	name = strings.TrimLeft(name, "/")
	if rest, ok := strings.CutPrefix(name, machines.FilesPath); ok {
		var digits string
		a.token, digits, ok = strings.Cut(rest, "/")
		if _, err := cache.ParseDigest("sha256:" + digits); err != nil || !ok || a.token == "" {
			return asked{}, false
		}
		a.digest = "sha256:" + digits
		return a, true
	}
	config, ok := strings.CutPrefix(name, configDir)
	if !ok {
		return asked{}, false
	}
	a.config = config
	if dashed, ok := strings.CutPrefix(config, hexMAC); ok {
		if mac, err := fleet.MAC(dashed); err == nil && strings.ReplaceAll(mac, ":", "-") == dashed {
			a.id.MAC = mac
			return a, true
		}
	}
	if uuid, err := fleet.UUID(config); err == nil && uuid == config {
		a.id.UUID = uuid
		return a, true
	}
	if strings.HasPrefix(config, lastName+"-arm") && len(config) < longName { // U-Boot's, of 32 and of 64 bits
		a.address, a.arch = true, "arm64"
		return a, true
	}
	if config == lastName || hexAddress.MatchString(config) {
		a.address = true
		return a, true
	}
	return asked{}, false
}

// swapped is a UUID with its first three groups turned around: PXELINUX writes the bytes of DHCP's option 97 as they come,
// of which those groups are little endian.
func swapped(uuid string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(b) != 16 {
		return uuid
	}
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8:10], b[10:])
}

// openPXELINUX gives what PXELINUX asks for.
func (t *TFTP) openPXELINUX(ctx context.Context, client netip.AddrPort, name string) (tftp.File, error) {
	absent := fmt.Errorf("%q: %w", config.Redact(name), fs.ErrNotExist)
	a, ok := parseAsked(name)
	switch {
	case !ok:
		return nil, absent
	case a.config == "":
		return t.openFile(ctx, a)
	}
	told, ok := t.config(client.Addr().Unmap(), a)
	if !ok {
		return nil, absent
	}
	return text{bytes.NewReader([]byte(told))}, nil
}

// text is a file that is made when it is asked for.
type text struct{ *bytes.Reader }

func (text) Close() error { return nil }

// openFile gives a kernel or an initrd by TFTP, as machineFile does by HTTP.
func (t *TFTP) openFile(ctx context.Context, a asked) (tftp.File, error) {
	if _, _, err := t.Machines.Whose(a.token); err != nil {
		return nil, fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	held, ok := t.Machines.Intents.File(a.digest, time.Now())
	if !ok {
		return nil, fmt.Errorf("%s of no release: %w", a.digest, fs.ErrNotExist)
	}
	file, err := t.Files.OpenRelease(ctx, held.Ref)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// config is the configuration for whoever asks. It is the same decision as that of the iPXE script.
func (t *TFTP) config(client netip.Addr, a asked) (string, bool) {
	index := t.Machines.Intents.Index()
	if a.address {
		b, ok := t.Machines.Seen.Bound(client)
		if !ok {
			return "", false
		}
		a.id.MAC = b.MAC
	}
	boot, err := index.Resolve(a.id)
	if a.id.MAC == "" { // it asks by its MAC next: nobody else's group is for it before that
		if boot == nil || boot.Machine == nil {
			a.id.UUID = swapped(a.id.UUID)
			boot, err = index.Resolve(a.id)
		}
		if boot == nil || boot.Machine == nil {
			return "", false
		}
	}
	event := &kilnv1.BootEvent{Mac: a.id.MAC, Uuid: a.id.UUID, Stage: kilnv1.BootStage_BOOT_STAGE_SCRIPT, Address: client.String()}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	var told string
	switch {
	case err != nil:
	case boot.LocalDisk:
		event.Detail = "boots from its own disk"
		told = "DEFAULT disk\nPROMPT 0\nLABEL disk\n" + localBoot
	default:
		told, err = t.configOf(client, boot, a, event)
	}
	if err != nil {
		event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
		told = waitConfig(err.Error(), a.config)
	}
	t.Machines.Tell(event)
	return told, true
}

// configOf is the configuration of a machine that has a release.
func (t *TFTP) configOf(client netip.Addr, boot *fleet.Boot, a asked, event *kilnv1.BootEvent) (string, error) {
	if _, err := boot.Files("amd64"); err != nil || a.arch != "" { // PXELINUX runs on PCs only
		if p, n, err := t.uboot(client, boot, event); n > 0 || err != nil {
			return p, err
		}
	}
	files, err := boot.Files("amd64")
	switch {
	case err != nil:
		return "", err
	case boot.UKI:
		return "", errOnlyUKI(boot)
	case files.GetKernel() == nil:
		return "", fmt.Errorf("release %s has no kernel for amd64; build kernel+initrd", boot.Release.GetName())
	}
	token, id, err := t.Machines.Token(client, boot)
	if err != nil {
		return "", err
	}
	line, err := boot.Cmdline(files, t.Machines.KnownAddress(boot, client))
	if err != nil {
		return "", err
	}
	event.Boot, event.Files, event.Detail = id, machines.FilesNamed(files), "release "+boot.Release.GetName()+" by PXELINUX"
	if boot.Once {
		event.Once = boot.Release.GetName()
		event.Detail += " (once)"
	}
	return pxelinuxConfig(machines.Boot{
		Name: boot.Name(), Release: boot.Release.GetName(), Files: files, Cmdline: line, Token: token, Edges: t.Machines.Edges(),
	}, a.http)
}

// uboot is the configuration of a machine whose U-Boot asks as PXELINUX does; files is 0 when there is nothing for such machines.
func (t *TFTP) uboot(client netip.Addr, boot *fleet.Boot, event *kilnv1.BootEvent) (config string, files uint32, err error) {
	if f, err := boot.Files("arm64"); err != nil || f.GetKernel() == nil || boot.UKI {
		return "", 0, nil
	}
	platforms, err := t.Machines.Platforms(client, boot, event, "U-Boot", []string{"arm64"})
	if err != nil {
		return "", 0, err
	}
	config, err = loaderconf.UBootConfig(boot.Name()+" boots "+boot.Release.GetName(), platforms["arm64"])
	return config, event.Files, err
}

// pxelinuxConfig boots a kernel and initrds. Where this edge does not give them all, PXELINUX tries a second one (ONERROR), waits
// a little, and tries a third or this one again (ONTIMEOUT).
func pxelinuxConfig(s machines.Boot, http bool) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "DEFAULT kiln0\nPROMPT 0\nTIMEOUT %d\nSAY Kiln: %s boots %s\n", tryAgain, ipxe.Printable(s.Name), ipxe.Printable(s.Release))
	places := filePlaces(s.Edges, http)
	for i, word := range []string{1: "ONERROR", 2: "ONTIMEOUT"} {
		if i > 0 && i < len(places) {
			fmt.Fprintf(&b, "%s kiln%d\n", word, i)
		}
	}
	for i, place := range places[:min(len(places), 3)] {
		at := func(ref *kilnv1.FileRef) string {
			return place.files + "/" + machines.FilesPath + s.Token + "/" + strings.TrimPrefix(ref.GetDigest(), "sha256:")
		}
		line, err := fleet.KernelLine(s.Cmdline, s.Token, []string{place.url}, "")
		if err != nil {
			return "", err
		}
		label, err := pxelinuxLabel(s, at, line)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "LABEL kiln%d\n%s", i, label)
	}
	return b.String(), nil
}

// place is an edge as PXELINUX finds it.
type place struct {
	url   string // of the edge
	files string // what is before the names of files
}

// filePlaces are the edges that give files: by TFTP "::" is the server that gave PXELINUX itself, and "address::" another one;
// by HTTP it is their URLs.
func filePlaces(edges []string, http bool) []place {
	var places []place
	for i, e := range edges {
		p := place{e, e}
		if !http {
			p.files = "::"
			if i > 0 {
				u, err := url.Parse(e)
				if err != nil {
					continue
				}
				a, err := netip.ParseAddr(u.Hostname())
				if err != nil || !a.Is4() {
					continue
				}
				p.files = a.String() + "::"
			}
		}
		places = append(places, p)
	}
	return places
}

// pxelinuxLabel is what a label boots.
func pxelinuxLabel(s machines.Boot, at func(*kilnv1.FileRef) string, cmdline string) (string, error) {
	for _, c := range cmdline {
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("the kernel command line holds the control character %q, which a configuration of PXELINUX cannot; change the command line", c)
		}
	}
	cmdline = strings.Join(strings.Fields(cmdline), " ")
	if len(s.Files.GetInitrds()) == 0 && strings.Contains(cmdline, "initrd=") {
		return "", errors.New("the kernel command line names an initrd=, which PXELINUX would fetch; give it to the release as its initrd, or take the word out")
	}
	kernel := at(s.Files.GetKernel())
	out := "LINUX " + kernel + "\n"
	whole := "BOOT_IMAGE=" + kernel + " " + cmdline
	if len(kernel) > longName {
		return "", fmt.Errorf("the files of %s have names of %d bytes, and PXELINUX takes %d; give the machine or the edge a shorter name", s.Name, len(kernel), longName)
	}
	var initrds []string
	for _, ref := range s.Files.GetInitrds() {
		initrds = append(initrds, at(ref))
	}
	if len(initrds) > 0 {
		names := strings.Join(initrds, ",")
		out += "INITRD " + names + "\n"
		whole += " initrd=" + names
	}
	if len(whole) > longLine {
		return "", fmt.Errorf("PXELINUX would give the kernel a command line of %d bytes, more than %d, as the files' names are in it; shorten it, have fewer initrds, or boot with iPXE", len(whole), longLine)
	}
	return out + "APPEND " + cmdline + "\n", nil
}

// waitConfig says why nothing boots, and asks again later for the same name.
func waitConfig(why, name string) string {
	return fmt.Sprintf("DEFAULT again\nPROMPT 1\nTIMEOUT %d\nSAY Kiln: %s\nLABEL again\nCONFIG %s\n", askAgain,
		ipxe.Printable(strings.ReplaceAll(why, " ", "_")), configDir+name)
}

// errOnlyUKI is why a boot loader boots nothing.
func errOnlyUKI(boot *fleet.Boot) error {
	return fmt.Errorf("machine %s is to boot its unified kernel image, which only UEFI firmware does; turn UEFI on, or give its group \"boot: loader\"", boot.Name())
}
