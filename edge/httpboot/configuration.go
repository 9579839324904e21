package httpboot

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// takeWait is how long a machine waits for its secrets while the farm has no leader.
const takeWait = 8 * time.Second

// Configuration answers machines that ask for what they are to be.
func (s *Server) Configuration() http.Handler {
	finder := &config.Finder{Index: s.Machines.Intents.Index, Bound: s.Machines.Seen.Bound, Now: time.Now, Keys: func() []config.Key {
		key, err := config.ParseKey(s.Machines.Intents.Key())
		if err != nil {
			return nil
		}
		return []config.Key{key}
	}}
	h := &config.Handler{Find: finder.Find, Hosts: append(config.CloudHosts(), hostOf(s.URL)), Report: func(r config.Read) {
		if r.Machine == "" || r.Absent || r.Session && r.Err == nil {
			return // nothing of the machine's was read
		}
		event := &kilnv1.BootEvent{Machine: r.Machine, Boot: r.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_CONFIG, Detail: r.What, Bytes: int64(r.Bytes), Address: r.From.Addr().String()}
		if r.Err != nil {
			event.Detail += ": " + r.Err.Error()
		}
		s.Machines.Tell(event)
	}}
	h.Sessions = &config.Sessions{Keys: finder.Keys, Now: time.Now, Required: s.SessionsOnly}
	if s.Once != nil {
		h.Once = onceAmongAll{s.Once, s.Log}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.Serves(r.URL.Path) && r.URL.Path != "/" {
			if s.serveByName(w, r) {
				return
			}
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// hostOf is the host of this edge's URL.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// onceAmongAll asks the farm, and answers a machine whose secrets nobody can vouch for that it should ask again.
type onceAmongAll struct {
	once config.Once
	log  *slog.Logger
}

// Take implements config.Once.
func (o onceAmongAll) Take(ctx context.Context, machine string, boot config.BootID, what string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, takeWait)
	defer cancel()
	fresh, err := o.once.Take(ctx, machine, boot, what)
	if err != nil {
		o.log.Error("secrets are not given while nobody can say whether they were read before", "machine", machine, "document", what, "error", err)
		return false, &config.Refusal{Status: http.StatusServiceUnavailable, Err: err,
			Text: "secrets are given only while the farm answers, which says whether they were read in this boot before; ask again"}
	}
	return fresh, nil
}
