package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// forwarded passes requests on to the leader while this coordinator does not lead, so that a client may ask any of
// them. A change of leaders breaks requests that are on their way: clients ask again.
func (c *Coordinator) forwarded(next http.Handler) http.Handler {
	if c.cfg.Cluster == nil {
		return next
	}
	errs := connect.NewErrorWriter()
	refuse := func(w http.ResponseWriter, r *http.Request, err error) {
		_ = errs.Write(w, r, connect.NewError(connect.CodeUnavailable, err)) // the client is gone
	}
	proxy := &httputil.ReverseProxy{
		Transport:     c.peers.Transport,
		FlushInterval: -1, // events are sent as they come
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "https", p.In.Context().Value(leaderKey{}).(string)
			who, _ := json.Marshal(callerOf(p.In.Context())) // strings always encode
			p.Out.Header.Set(headerCaller, string(who))
		},
		ModifyResponse: func(r *http.Response) error { // who asks often asks the leader itself then
			r.Header.Set(kilnv1.HeaderLeader, r.Request.URL.Host)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			refuse(w, r, fmt.Errorf("the leader of the farm does not answer: %w; try again", err))
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, leads := c.findLeader(r.Context())
		switch {
		case leads:
			next.ServeHTTP(w, r)
		case callerOf(r.Context()).Through != "":
			refuse(w, r, replica.ErrNotLeading) // whoever passed it on knows the new leader soon
		case address == "":
			refuse(w, r, c.noLeader())
		default:
			proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), leaderKey{}, address)))
		}
	})
}

type leaderKey struct{}

// findLeader waits a little for a leader: a change of leaders takes about a second.
func (c *Coordinator) findLeader(ctx context.Context) (address string, leads bool) {
	deadline := time.Now().Add(leaderPatience)
	for {
		l, changed := c.current()
		if l != nil {
			return "", true
		}
		if at, id := c.node.LeaderWithID(); at != "" && string(id) != c.cfg.NodeID {
			return string(at), false
		}
		if time.Now().After(deadline) {
			return "", false
		}
		timer := time.NewTimer(leaderLook)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", false
		}
		timer.Stop()
	}
}

// noLeader says why there is none.
func (c *Coordinator) noLeader() error {
	quiet := time.Since(c.node.LastContact()).Round(time.Second)
	var ids []string
	c.fsm.View(func(m *state.Machine) {
		for _, member := range m.Members() {
			ids = append(ids, member.GetId())
		}
	})
	if n := len(ids); n > 1 {
		return fmt.Errorf("the farm has no leader: coordinator %s has heard none for %s; %d of its %d coordinators (%s) must run and reach each other",
			c.cfg.NodeID, quiet, n/2+1, n, strings.Join(ids, ", "))
	}
	return errors.New("the farm has no leader at the moment; try again")
}
