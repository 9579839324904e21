package httpboot

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/kiln-farm/kiln/edge/transfer"
	"github.com/kiln-farm/kiln/internal/ipxe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// bootAny is the script for any machine: it goes on with the one for the machine's architecture.
func (s *Server) bootAny(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("script"), ".ipxe")
	if !ok {
		transfer.Fail(w, http.StatusNotFound, "a boot script is called BUILD.ipxe")
		return
	}
	team := team(r)
	b, err := s.findBuild(r.Context(), team, name)
	if err != nil {
		s.Sender.Absent(w, r, err, "build "+name)
		return
	}
	script(w, chooser(b, team))
}

// bootArch is the script that boots one architecture.
func (s *Server) bootArch(w http.ResponseWriter, r *http.Request) {
	arch, ok := strings.CutSuffix(r.PathValue("script"), ".ipxe")
	if !ok {
		transfer.Fail(w, http.StatusNotFound, "a boot script is called ARCH.ipxe")
		return
	}
	b, err := s.findBuild(r.Context(), team(r), r.PathValue("build"))
	if err != nil {
		s.Sender.Absent(w, r, err, "build "+r.PathValue("build"))
		return
	}
	name := b.GetSpec().GetName()
	kernel, initrd := output(b, arch, name+"-kernel"), output(b, arch, name+"-initrd.img")
	if kernel == nil || initrd == nil {
		transfer.Fail(w, http.StatusNotFound, fmt.Sprintf("the build has no kernel and initrd for %s; build it with --format kernel+initrd --arch %s", arch, arch))
		return
	}
	cmdline := ""
	if o := output(b, arch, name+"-cmdline"); o != nil {
		if cmdline, err = s.text(r.Context(), o); err != nil {
			s.Sender.Absent(w, r, err, name+"-cmdline")
			return
		}
	}
	text, err := bootScript(name, b.GetSpec().GetId(), kernel.GetDigest(), initrd.GetDigest(), cmdline)
	if err != nil {
		transfer.Fail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	script(w, text)
}

func team(r *http.Request) string {
	if t := r.URL.Query().Get("team"); t != "" {
		return t
	}
	return defaultTeam
}

func script(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write([]byte(text))
}

// chooser goes by iPXE's buildarch (ipxe.org/cfg/buildarch). The build's id is in the URL, so that a build that ends in
// between does not mix with this one. A chain that fails ends the script: no machine tries the other architecture.
func chooser(b *kilnv1.BuildRecord, team string) string {
	at := func(arch string) string {
		u := "/boot/" + url.PathEscape(b.GetSpec().GetId()) + "/" + arch + ".ipxe"
		if team != defaultTeam {
			u += "?team=" + url.QueryEscape(team)
		}
		return u
	}
	return "#!ipxe\n" +
		"iseq ${buildarch} arm64 && goto arm64 ||\n" +
		"chain " + at("amd64") + "\n" +
		":arm64\n" +
		"chain " + at("arm64") + "\n"
}

// bootScript boots a kernel and an initrd by their digests, from wherever the script came.
func bootScript(name, id, kernel, initrd, cmdline string) (string, error) {
	args, err := ipxe.Arguments(cmdline)
	if err != nil {
		return "", err
	}
	return "#!ipxe\n" +
		"echo Kiln: " + ipxe.Printable(name) + " " + ipxe.Printable(id) + "\n" +
		"kernel --name kernel " + artifactPath(kernel) + " initrd=initrd.img" + args + "\n" +
		"initrd --name initrd.img " + artifactPath(initrd) + "\n" +
		"boot\n", nil
}

// artifactPath hides the digest's colon: iPXE takes what is before the first colon for a scheme, even after a slash
// (its parse_uri, in Debian's version of 2019).
func artifactPath(digest string) string {
	return "/artifacts/" + strings.ReplaceAll(digest, ":", "%3A")
}
