package edge

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// takeWait is how long a machine waits for its secrets while the farm has no leader.
const takeWait = 8 * time.Second

// configuration answers machines that ask for what they are to be.
func (e *Edge) configuration() http.Handler {
	finder := &config.Finder{Index: e.cfg.Intents.Index, Bound: e.seen.Bound, Now: e.now, Keys: func() []config.Key {
		key, err := config.ParseKey(e.cfg.Intents.Key())
		if err != nil {
			return nil
		}
		return []config.Key{key}
	}}
	h := &config.Handler{Find: finder.Find, Hosts: append(config.CloudHosts(), hostOf(e.cfg.URL)), Report: func(r config.Read) {
		if r.Machine == "" || r.Absent || r.Session && r.Err == nil {
			return // nothing of the machine's was read
		}
		event := &kilnv1.BootEvent{Machine: r.Machine, Boot: r.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_CONFIG, Detail: r.What, Bytes: int64(r.Bytes), Address: r.From.Addr().String()}
		if r.Err != nil {
			event.Detail += ": " + r.Err.Error()
		}
		e.tell(event)
	}}
	h.Sessions = &config.Sessions{Keys: finder.Keys, Now: e.now, Required: e.cfg.SessionsOnly}
	if e.cfg.Once != nil {
		h.Once = onceAmongAll{e.cfg.Once, e.cfg.Log}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.Serves(r.URL.Path) && r.URL.Path != "/" {
			if e.serveByName(w, r) {
				return
			}
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ServeMetadata serves on l, an address at which programs made for clouds ask, until ctx ends. What machines boot is there, too; the
// begin of it all is not a page for people but the list of EC2's versions.
func (e *Edge) ServeMetadata(ctx context.Context, l net.Listener) error {
	configuration := e.configuration()
	return e.serveOn(ctx, l, e.logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			configuration.ServeHTTP(w, r)
			return
		}
		e.mux.ServeHTTP(w, r)
	})))
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
