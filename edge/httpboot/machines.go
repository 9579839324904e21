package httpboot

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/loaderconf"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/transfer"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// machineScript is the iPXE script for one machine.
func (s *Server) machineScript(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id := fleet.Identity{MAC: q.Get("mac"), UUID: q.Get("uuid"), Serial: q.Get("serial")}
	boot, err := s.Machines.Intents.Index().Resolve(id)
	event := &kilnv1.BootEvent{Mac: id.MAC, Uuid: id.UUID, Stage: kilnv1.BootStage_BOOT_STAGE_SCRIPT, Address: addressOf(r)}
	var script string
	switch {
	case err != nil:
		event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
		script = machines.WaitScript(err.Error())
	case boot.LocalDisk:
		event.Detail = "boots from its own disk"
		script = machines.DiskScript
	default:
		source, _ := netip.ParseAddr(addressOf(r)) // where it is none, the token is a public one
		script, err = s.Machines.Script(source, s.urlsFor(r), boot, q.Get("arch"), event)
		if err != nil {
			event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
			script = machines.WaitScript(err.Error())
		}
	}
	if boot != nil && boot.Machine != nil {
		event.Machine = boot.Machine.GetName()
	}
	s.Machines.Tell(event)
	writeScript(w, script)
}

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

func writeScript(w http.ResponseWriter, script string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(script)) // the machine asks again
}

// machineFile serves a file of a release to a machine, and notes that it has it.
func (s *Server) machineFile(w http.ResponseWriter, r *http.Request) {
	boot, t, err := s.Machines.Whose(r.PathValue("token"))
	if err != nil {
		transfer.Fail(w, http.StatusForbidden, err.Error())
		return
	}
	digest := r.PathValue("digest")
	if !strings.Contains(digest, ":") { // as PXELINUX names files
		digest = "sha256:" + digest
	}
	held, ok := s.Machines.Intents.File(digest, time.Now())
	if !ok {
		transfer.Fail(w, http.StatusNotFound, "no release has this file any more; boot the machine again")
		return
	}
	ref, begun := held.Ref, time.Now()
	went := s.release(w, transfer.OfMachine(r, boot.Name()), ref)
	if !went.Whole || r.Method == http.MethodHead {
		return
	}
	event := machines.FileEvent(boot, t, held)
	event.Address, event.Bytes, event.DurationMs = addressOf(r), ref.GetSize(), time.Since(begun).Milliseconds()
	event.Detail = fmt.Sprintf("%d bytes in %d ms", event.Bytes, event.DurationMs) + forEdge(went)
	s.Machines.Tell(event)
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

// release serves a file of a release.
func (s *Server) release(w http.ResponseWriter, r *http.Request, ref *kilnv1.FileRef) transfer.Sent {
	a, err := s.Files.Release(r.Context(), ref)
	if err != nil {
		s.Sender.Absent(w, r, err, ref.GetDigest())
		return transfer.Sent{}
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return s.serve(w, r, a, a.Digest)
}

// machineUKI serves the unified kernel image of a machine, by its MAC: what UEFI's HTTP boot fetches has no token.
func (s *Server) machineUKI(w http.ResponseWriter, r *http.Request) {
	mac := strings.TrimSuffix(r.PathValue("mac"), ".efi")
	boot, files, err := s.Machines.UKI(fleet.Identity{MAC: mac}, r.URL.Query().Get("arch"))
	event := &kilnv1.BootEvent{Mac: mac, Stage: kilnv1.BootStage_BOOT_STAGE_KERNEL, Address: addressOf(r)}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if err != nil {
		event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
		s.Machines.Tell(event)
		transfer.Fail(w, http.StatusNotFound, err.Error())
		return
	}
	if source, err := netip.ParseAddr(addressOf(r)); err == nil {
		s.Machines.Seen.Fetched(mac, source, time.Now().Add(intent.BootTime))
	}
	if went := s.release(w, r, files.GetUki()); went.Whole && r.Method != http.MethodHead {
		event.Bytes, event.Detail = files.GetUki().GetSize(), "release "+boot.Release.GetName()+forEdge(went)
		s.Machines.Tell(event)
	}
}

// machineUp is what an image asks for when it has started.
func (s *Server) machineUp(w http.ResponseWriter, r *http.Request) {
	boot, t, err := s.Machines.Whose(r.PathValue("token"))
	if err != nil {
		transfer.Fail(w, http.StatusForbidden, err.Error())
		return
	}
	s.Machines.Tell(&kilnv1.BootEvent{Machine: boot.Machine.GetName(), Boot: t.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_UP, Address: addressOf(r), Detail: "up"})
	w.WriteHeader(http.StatusNoContent)
}

// serveByName gives over HTTP what boot loaders ask for by themselves; it says whether the path is such a name.
func (s *Server) serveByName(w http.ResponseWriter, r *http.Request) bool {
	a := loaderconf.Parse(r.URL.Path)
	if !slices.Contains([]loaderconf.Kind{loaderconf.Autoexec, loaderconf.GRUB}, a.Kind) || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	source, _ := netip.ParseAddr(addressOf(r))
	told, err := s.Machines.ByName(source.Unmap(), a, s.urlsFor(r))
	if err != nil {
		transfer.Fail(w, http.StatusNotFound, err.Error())
		return true
	}
	writeScript(w, told)
	return true
}
