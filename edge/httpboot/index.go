package httpboot

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/edge/transfer"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

//go:embed index.html
var indexHTML string

// listed is how many builds the front page shows.
const listed = 50

type listedBuild struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Team     string       `json:"team"`
	Finished time.Time    `json:"finished"`
	Script   string       `json:"script,omitempty"`
	Files    []listedFile `json:"files"`
}

type listedFile struct {
	Arch   string `json:"arch"`
	Name   string `json:"name"`
	URL    string `json:"url"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// index lists the latest builds: a page, or JSON for those who ask for it.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	team := team(r)
	if len(team) > longestPart {
		transfer.Fail(w, http.StatusNotFound, "there is no team of that name")
		return
	}
	records, err := record.ListBuilds(r.Context(), s.Store, team, listed)
	if err != nil {
		s.Sender.Absent(w, r, err, "the list of builds")
		return
	}
	builds := []listedBuild{}
	for _, b := range records {
		if b.GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
			builds = append(builds, list(b))
		}
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(builds)
		return
	}
	page, err := template.New("index").Parse(indexHTML)
	if err != nil {
		s.Sender.Absent(w, r, err, "the page")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := page.Execute(w, builds); err != nil {
		s.Log.Info("the page was not sent whole", "error", err)
	}
}

func list(b *kilnv1.BuildRecord) listedBuild {
	spec := b.GetSpec()
	out := listedBuild{ID: spec.GetId(), Name: spec.GetName(), Team: spec.GetTeam(), Finished: time.UnixMilli(b.GetFinishedUnixMs()).UTC(), Files: []listedFile{}}
	for _, o := range b.GetOutputs() {
		arch := strings.TrimPrefix(o.GetPlatform(), "linux/")
		out.Files = append(out.Files, listedFile{Arch: arch, Name: spec.GetName() + o.GetFile(), URL: "/artifacts/" + o.GetDigest(), Digest: o.GetDigest(), Size: o.GetSize()})
		if o.GetFile() == "-initrd.img" {
			out.Script = "/boot/" + url.PathEscape(spec.GetId()) + ".ipxe"
			if spec.GetTeam() != defaultTeam {
				out.Script += "?team=" + url.QueryEscape(spec.GetTeam())
			}
		}
	}
	return out
}

// MiB is the size for people.
func (f listedFile) MiB() float64 { return float64(f.Size) / (1 << 20) }
