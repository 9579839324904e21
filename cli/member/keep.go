package member

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/member/enroll"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What a member does beside its work: it keeps up with where the farm is, and keeps its certificate valid.

const (
	// followFirst is short: a farm that is being set up has more coordinators a moment later.
	followFirst = time.Second
	followEvery = 30 * time.Second
	askTimeout  = 10 * time.Second
	locateRetry = 2 * time.Second
)

// Locate gives where the farm is: as it was when the node last heard, or as it says now, however long it is away.
func (m *Member) Locate(ctx context.Context, log *slog.Logger) (node.Place, error) {
	for {
		if p := m.Place(); len(p.Coordinators) > 0 {
			return p, nil
		}
		err := m.ask(ctx)
		if err == nil {
			continue
		}
		if !errors.Is(err, client.ErrUnreachable) && ui.ExitCode(err) != ui.ExitUnreachable {
			return node.Place{}, err
		}
		log.Warn("the farm does not answer; trying again", "error", err)
		select {
		case <-time.After(locateRetry):
		case <-ctx.Done():
			return node.Place{}, ctx.Err()
		}
	}
}

// Follow keeps up with where the farm is, until ctx ends, and says so when that changes.
func (m *Member) Follow(ctx context.Context, log *slog.Logger, moved func(node.Place)) {
	wait := followFirst
	for last := m.Place(); ; wait = min(2*wait, followEvery) {
		if err := m.ask(ctx); err != nil && ctx.Err() == nil {
			log.Debug("where the farm's coordinators are could not be asked", "error", err)
		}
		if now := m.Place(); !reflect.DeepEqual(now, last) {
			log.Info("the farm has changed", "coordinators", now.Coordinators, "buses", now.Buses)
			last = now
			moved(now)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// ask asks the farm where it is, and keeps the answer.
func (m *Member) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	urls := m.Coordinators()
	if len(urls) == 0 {
		return ui.Usagef("%s does not know where the farm is: name a coordinator with --join", m.Path())
	}
	f, err := client.Dial(strings.Join(urls, ","), client.Options{TLS: m.Certificate.ClientTLS(client.Protocols()...), Patience: askTimeout})
	if err != nil {
		return err
	}
	defer f.Close()
	topology, err := client.Ask(ctx, f, "ask where the farm is", f.Admin.Topology, &kilnv1.TopologyRequest{})
	if err != nil || len(topology.GetCoordinators()) == 0 {
		return err
	}
	return m.remember(topology)
}

const (
	renewEvery = 24 * time.Hour
	renewWait  = time.Minute
)

// KeepValid has the certificate renewed in time, until ctx ends. A farm that does not answer is asked again a day later;
// there are months for that.
func (m *Member) KeepValid(ctx context.Context, log *slog.Logger, hosts ...string) {
	log = log.With("certificate", m.Credentials())
	for {
		if m.Certificate.Worn(time.Now()) {
			err := m.Renew(ctx, hosts)
			switch {
			case err == nil:
				log.Info("certificate renewed", "expires", m.Certificate.Identity().Expires)
			case ctx.Err() == nil:
				log.Warn("the certificate could not be renewed; trying again tomorrow", "expires", m.Certificate.Identity().Expires, "error", err)
			}
		}
		timer := time.NewTimer(renewEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Renew gets a new certificate: coordinators sign their own, the others ask.
func (m *Member) Renew(ctx context.Context, hosts []string) error {
	if m.Authority != nil {
		if err := m.signOwn(hosts); err != nil {
			return err
		}
	} else {
		resp, err := enroll.Renew(ctx, m.Certificate, enroll.Request{Addresses: m.Coordinators(), Hosts: hosts, Patience: renewWait})
		if err != nil {
			return err
		}
		if err := m.remember(resp.GetTopology()); err != nil {
			return err
		}
	}
	return m.Certificate.Save(m.Credentials())
}

func (m *Member) signOwn(hosts []string) error {
	key, csr, err := pki.NewRequest(m.ID)
	if err != nil {
		return err
	}
	who := m.Certificate.Identity()
	certificate, err := m.Authority.Sign(csr, pki.Identity{Farm: who.Farm, Name: who.Name, Role: who.Role}, hosts, time.Now())
	if err != nil {
		return err
	}
	return m.Certificate.Replace(certificate, key)
}
