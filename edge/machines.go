package edge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/transfer"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/ipxe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// machineRoutes are the paths by which machines boot.
func (e *Edge) machineRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /boot.ipxe", e.machineScript)
	mux.HandleFunc("GET /files/{token}/{digest}", e.machineFile)
	mux.HandleFunc("GET /uki/{mac}", e.machineUKI)
	mux.HandleFunc("GET /up/{token}", e.machineUp)
	mux.HandleFunc("GET /loaders/{name}", e.machineLoader)
}

// ServeLoaders serves the boot programs of p over HTTP, too.
func (e *Edge) ServeLoaders(p *PXE) { e.pxe.Store(p) }

// machineScript is the iPXE script for one machine.
func (e *Edge) machineScript(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id := fleet.Identity{MAC: q.Get("mac"), UUID: q.Get("uuid"), Serial: q.Get("serial")}
	boot, err := e.cfg.Intents.Index().Resolve(id)
	event := &kilnv1.BootEvent{Mac: id.MAC, Uuid: id.UUID, Stage: kilnv1.BootStage_BOOT_STAGE_SCRIPT, Address: addressOf(r)}
	var script string
	switch {
	case err != nil:
		event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
		script = waitScript(err.Error())
	case boot.LocalDisk:
		event.Detail = "boots from its own disk"
		script = diskScript
	default:
		source, _ := netip.ParseAddr(addressOf(r)) // where it is none, the token is a public one
		script, err = e.bootFor(source, e.urlsFor(r), boot, q.Get("arch"), event)
		if err != nil {
			event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
			script = waitScript(err.Error())
		}
	}
	if boot != nil && boot.Machine != nil {
		event.Machine = boot.Machine.GetName()
	}
	e.tell(event)
	writeScript(w, script)
}

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// bootFor is the script of a machine that has a release, which asks from source and reaches those edges.
func (e *Edge) bootFor(source netip.Addr, edges []string, boot *fleet.Boot, arch string, event *kilnv1.BootEvent) (string, error) {
	files, err := boot.Files(ipxeArch(arch))
	if err != nil {
		return "", err
	}
	if boot.UKI || files.GetKernel() == nil && files.GetUki() != nil {
		event.Detail = "release " + boot.Release.GetName() + " as a unified kernel image"
		return ukiScript(boot, edges, ipxeArch(arch))
	}
	if files.GetKernel() == nil {
		return "", fmt.Errorf("release %s has no kernel for %s; build kernel+initrd", boot.Release.GetName(), ipxeArch(arch))
	}
	token, id, err := e.token(source, boot)
	if err != nil {
		return "", err
	}
	line, err := boot.Cmdline(files, e.knownAddress(boot, source))
	if err != nil {
		return "", err
	}
	event.Boot, event.Files, event.Detail = id, filesNamed(files), "release "+boot.Release.GetName()
	if boot.Once {
		event.Once = boot.Release.GetName()
		event.Detail += " (once)"
	}
	return machineScript(scriptFor{
		name: boot.Name(), release: boot.Release.GetName(), files: files, cmdline: line, token: token, edges: edges,
	})
}

// filesNamed is how many files a boot fetches, each counted once.
func filesNamed(f *kilnv1.ReleaseFiles) uint32 {
	initrds := map[string]bool{}
	for _, ref := range f.GetInitrds() {
		initrds[ref.GetDigest()] = true
	}
	return uint32(1 + len(initrds))
}

// knownAddress is what this edge knows to be the machine's address, when it asks from there.
func (e *Edge) knownAddress(boot *fleet.Boot, source netip.Addr) netip.Prefix {
	b, ok := e.seen.Bound(source.Unmap())
	if !ok || !b.Address.Addr().Is4() || !slices.Contains(boot.MACs(), b.MAC) {
		return netip.Prefix{}
	}
	return b.Address
}

// ipxeArch is an architecture of iPXE's ${buildarch} as Go calls it.
func ipxeArch(arch string) string {
	switch arch {
	case "arm64":
		return "arm64"
	default: // "x86_64", and "i386" of BIOS ROMs, which start 64-bit kernels
		return "amd64"
	}
}

// token makes the token of a new boot. It is good for secrets only when this edge saw the address being given to the machine:
// anybody may say a MAC.
func (e *Edge) token(source netip.Addr, boot *fleet.Boot) (token, id string, err error) {
	key, err := config.ParseKey(e.cfg.Intents.Key())
	if err != nil {
		return "", "", err
	}
	t := config.Token{Machine: boot.Key(), Expires: e.now().Add(intent.BootTime)}
	t.Public = !config.Seen(e.seen.Given, source, boot.MACs())
	if _, err := rand.Read(t.Boot[:]); err != nil {
		return "", "", err
	}
	return config.Sign(key, t), t.Boot.String(), nil
}

// whose is the machine of a token.
func (e *Edge) whose(text string) (*fleet.Boot, config.Token, error) {
	key, err := config.ParseKey(e.cfg.Intents.Key())
	if err != nil {
		return nil, config.Token{}, err
	}
	t, err := config.Verify(key, text, e.now())
	if err != nil {
		return nil, t, err
	}
	boot, err := e.cfg.Intents.Index().Named(t.Machine)
	if errors.Is(err, fleet.ErrNoRelease) {
		err = nil
	}
	return boot, t, err
}

func (e *Edge) now() time.Time { return time.Now() }

// machineFile serves a file of a release to a machine, and notes that it has it.
func (e *Edge) machineFile(w http.ResponseWriter, r *http.Request) {
	boot, t, err := e.whose(r.PathValue("token"))
	if err != nil {
		transfer.Fail(w, http.StatusForbidden, err.Error())
		return
	}
	digest := r.PathValue("digest")
	if !strings.Contains(digest, ":") { // as PXELINUX names files
		digest = "sha256:" + digest
	}
	held, ok := e.cfg.Intents.File(digest, e.now())
	if !ok {
		transfer.Fail(w, http.StatusNotFound, "no release has this file any more; boot the machine again")
		return
	}
	ref, begun := held.Ref, time.Now()
	went := e.release(w, transfer.OfMachine(r, boot.Name()), ref)
	if !went.Whole || r.Method == http.MethodHead {
		return
	}
	event := fileEvent(boot, t, held)
	event.Address, event.Bytes, event.DurationMs = addressOf(r), ref.GetSize(), time.Since(begun).Milliseconds()
	event.Detail = fmt.Sprintf("%d bytes in %d ms", event.Bytes, event.DurationMs) + forEdge(went)
	e.tell(event)
}

// toldWait is from when on a timeline tells that a machine waited for this edge.
const toldWait = time.Second

// forEdge is for how long a machine waited because of this edge, as its timeline tells it.
func forEdge(s transfer.Sent) string {
	if s.Waited < toldWait {
		return ""
	}
	return fmt.Sprintf(", %d ms of them waiting for other machines at this edge", s.Waited.Milliseconds())
}

// fileEvent is that a machine has a file of its release.
func fileEvent(boot *fleet.Boot, t config.Token, held intent.File) *kilnv1.BootEvent {
	event := &kilnv1.BootEvent{Machine: boot.Machine.GetName(), Boot: t.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_INITRD, File: held.Ref.GetDigest()}
	if macs := boot.MACs(); len(macs) > 0 {
		event.Mac = macs[0]
	}
	if held.Kernel {
		event.Stage = kilnv1.BootStage_BOOT_STAGE_KERNEL
	}
	return event
}

// release serves a file of a release.
func (e *Edge) release(w http.ResponseWriter, r *http.Request, ref *kilnv1.FileRef) transfer.Sent {
	a, err := e.files.Release(r.Context(), ref)
	if err != nil {
		e.sender.Absent(w, r, err, ref.GetDigest())
		return transfer.Sent{}
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return e.serve(w, r, a, a.Digest)
}

// machineUKI serves the unified kernel image of a machine, by its MAC: what UEFI's HTTP boot fetches has no token.
func (e *Edge) machineUKI(w http.ResponseWriter, r *http.Request) {
	mac := strings.TrimSuffix(r.PathValue("mac"), ".efi")
	boot, files, err := e.ukiOf(fleet.Identity{MAC: mac}, r.URL.Query().Get("arch"))
	event := &kilnv1.BootEvent{Mac: mac, Stage: kilnv1.BootStage_BOOT_STAGE_KERNEL, Address: addressOf(r)}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if err != nil {
		event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
		e.tell(event)
		transfer.Fail(w, http.StatusNotFound, err.Error())
		return
	}
	if source, err := netip.ParseAddr(addressOf(r)); err == nil {
		e.seen.Fetched(mac, source, e.now().Add(intent.BootTime))
	}
	if went := e.release(w, r, files.GetUki()); went.Whole && r.Method != http.MethodHead {
		event.Bytes, event.Detail = files.GetUki().GetSize(), "release "+boot.Release.GetName()+forEdge(went)
		e.tell(event)
	}
}

// ukiOf is the unified kernel image that a machine boots.
func (e *Edge) ukiOf(id fleet.Identity, arch string) (*fleet.Boot, *kilnv1.ReleaseFiles, error) {
	boot, err := e.cfg.Intents.Index().Resolve(id)
	if err != nil {
		return boot, nil, err
	}
	if boot.LocalDisk {
		return boot, nil, fmt.Errorf("machine %s boots from its own disk", boot.Name())
	}
	files, err := boot.Files(ipxeArch(arch))
	if err == nil && files.GetUki() == nil {
		err = fmt.Errorf("release %s has no unified kernel image for %s; build the format uki, too", boot.Release.GetName(), ipxeArch(arch))
	}
	return boot, files, err
}

// machineUp is what an image asks for when it has started.
func (e *Edge) machineUp(w http.ResponseWriter, r *http.Request) {
	boot, t, err := e.whose(r.PathValue("token"))
	if err != nil {
		transfer.Fail(w, http.StatusForbidden, err.Error())
		return
	}
	e.tell(&kilnv1.BootEvent{Machine: boot.Machine.GetName(), Boot: t.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_UP, Address: addressOf(r), Detail: "up"})
	w.WriteHeader(http.StatusNoContent)
}

// urls are those of this edge and of the others that a boot may go on at, this one first.
func (e *Edge) urls() []string {
	if e.six {
		return e.urlsOf(e.cfg.URL, 6)
	}
	return e.urlsOf(e.cfg.URL, 4)
}

func writeScript(w http.ResponseWriter, script string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(script)) // the machine asks again
}

// scriptFor is what a machine's script says.
type scriptFor struct {
	name, release string
	files         *kilnv1.ReleaseFiles
	cmdline       string
	token         string
	edges         []string
}

// machineScript boots a kernel and initrds. An edge may die at any moment: what it did not give, and all after that, comes
// from the next one, and when there is none the machine starts anew.
func machineScript(s scriptFor) (string, error) {
	line, err := fleet.KernelLine(s.cmdline, s.token, s.edges, fleet.InitrdWords(s.files))
	if err != nil {
		return "", err
	}
	args, err := ipxe.Arguments(line)
	if err != nil {
		return "", err
	}
	path := func(ref *kilnv1.FileRef) string {
		return "/files/" + s.token + "/" + strings.ReplaceAll(ref.GetDigest(), ":", "%3A")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!ipxe\necho Kiln: %s boots %s\n", ipxe.Printable(s.name), ipxe.Printable(s.release))
	for n, edge := range s.edges {
		fetch := func(file int, command string) {
			next := fmt.Sprintf("edge%d_%d", n+1, file)
			if n+1 == len(s.edges) {
				next = "again"
			}
			fmt.Fprintf(&b, ":edge%d_%d\n%s || goto %s\n", n, file, command, next)
		}
		fetch(0, "kernel "+patience+" --name kernel "+edge+path(s.files.GetKernel())+args)
		for i, ref := range s.files.GetInitrds() {
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
		fmt.Fprintf(&b, "chain %s/%s%s.efi?arch=%s || ", e, ukiPrefix, macs[0], arch)
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

// diskScript leaves the network: firmware goes on with the next device.
const diskScript = "#!ipxe\necho Kiln: booting from the local disk\nexit 1\n"

// waitScript says why nothing boots, and asks again later.
func waitScript(why string) string {
	return "#!ipxe\necho Kiln: " + ipxe.Printable(strings.ReplaceAll(why, " ", "_")) + "\nsleep 15\n" + autoboot
}
