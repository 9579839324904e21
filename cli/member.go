package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/enroll"
	"github.com/kiln-farm/kiln/cli/farm"
	"github.com/kiln-farm/kiln/cli/node"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// nodeFlags say which data directory a process of a farm has, and how it gets into the farm the first time.
type nodeFlags struct {
	data, id, join string
	token          tokenFlags
}

func (f *nodeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.data, "data", "", "directory for what must survive a restart")
	flags.StringVar(&f.id, "id", "", "name in the farm (default: the host's name and four random digits; it is kept in DATA/id)")
	flags.StringVar(&f.join, "join", "", "HOST:PORT of a coordinator of the farm, or several with commas between")
	f.token.add(flags.StringVar)
}

// member is a process of a farm: its data directory, its name and its certificate.
type member struct {
	*node.Data
	id          string
	role        pki.Role
	credentials *pki.Credentials
	authority   *pki.Authority // of coordinators
	join        []string       // URLs of coordinators, as the flags say
}

// open takes the data directory, and joins the farm when there is no certificate in it that is valid.
func (f *nodeFlags) open(ctx context.Context, env Env, role pki.Role, patience time.Duration, hosts ...string) (m *member, err error) {
	if f.data == "" {
		return nil, usagef("--data DIR is missing: it is the directory for what must survive a restart")
	}
	var join []string
	if f.join != "" {
		if join, err = enroll.URLs(f.join); err != nil {
			return nil, usagef("--join: %w", err)
		}
	}
	token, err := f.token.read(env)
	if err != nil {
		return nil, err
	}
	data, err := node.Open(f.data)
	if err != nil {
		return nil, usagef("%w", err)
	}
	m = &member{Data: data, role: role, join: join}
	defer func() {
		if err != nil {
			err = errors.Join(err, data.Close())
		}
	}()
	if m.id, err = data.ID(f.id); err != nil {
		return nil, usagef("%w", err)
	}
	why, err := m.load()
	if err == nil && why != nil {
		err = m.enroll(ctx, token, why, patience, hosts)
	}
	if err != nil {
		return nil, err
	}
	if role == pki.RoleCoordinator {
		if m.authority, err = pki.LoadAuthority(m.PKI()); err != nil {
			return nil, fmt.Errorf("the farm's authority in %s cannot be used: %w; a coordinator that lost it joins anew, with an empty data directory", m.PKI(), err)
		}
	}
	return m, nil
}

// load reads the certificate that is there. When there is none that can be used, why says so.
func (m *member) load() (why, err error) {
	credentials, err := pki.LoadCredentials(m.Credentials())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds no certificate yet", m.Path()), nil
	}
	if err != nil {
		return nil, err
	}
	who := credentials.Identity()
	if who.Role != m.role {
		return nil, usagef("data directory %s is that of a %s: a %s needs one of its own", m.Path(), who.Role, m.role)
	}
	if err := credentials.Check(time.Now()); err != nil {
		return fmt.Errorf("%s: %w", m.Credentials(), err), nil
	}
	m.id, m.credentials = who.Name, credentials
	return nil, nil
}

// enroll joins the farm with a token and keeps what it gives.
func (m *member) enroll(ctx context.Context, token string, why error, patience time.Duration, hosts []string) error {
	switch {
	case token == "" && m.role == pki.RoleCoordinator && m.join == nil:
		return usagef("%w: kiln init --data %s makes a new farm, and --join HOST:PORT with --token joins one", why, m.Path())
	case token == "":
		return usagef("%w: a token is needed with --token, --token-file or KILN_TOKEN; kiln farm token --role %s makes it", why, m.role)
	case m.join == nil:
		return usagef("%w: --join HOST:PORT says where a coordinator of the farm is", why)
	}
	joined, err := enroll.Join(ctx, enroll.Request{
		Addresses: m.join, Token: token, ID: m.id, Roles: []pki.Role{m.role}, Hosts: hosts, Patience: patience,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.PKI(), 0o700); err != nil {
		return fmt.Errorf("keep the certificate: %w", err)
	}
	if m.role == pki.RoleCoordinator {
		authority, err := pki.ParseAuthority(joined.Response.GetCa(), joined.Response.GetCaKey())
		if err == nil {
			err = authority.Save(m.PKI())
		}
		if err != nil {
			return fmt.Errorf("keep the farm's authority: %w", err)
		}
	}
	m.credentials = joined.Credentials
	m.id = joined.Credentials.Identity().Name
	if err := m.KeepID(m.id); err != nil {
		return err
	}
	if err := m.remember(joined.Response.GetTopology()); err != nil {
		return err
	}
	if err := joined.Credentials.Save(m.Credentials()); err != nil { // last: it is what a restart looks for
		return fmt.Errorf("keep the certificate: %w", err)
	}
	return nil
}

// remember keeps where the farm is now.
func (m *member) remember(t *kilnv1.TopologyResponse) error {
	return m.Remember(node.Place{
		Farm: m.credentials.Identity().Farm, Coordinators: t.GetCoordinators(), Buses: t.GetBuses(), Store: t.GetStore(),
	})
}

// coordinators are the URLs at which the farm may be: those of the flags, then those that it told last.
func (m *member) coordinators() []string {
	urls := slices.Clone(m.join)
	for _, one := range coordinatorURLs(m.Place().Coordinators) {
		if !slices.Contains(urls, one) {
			urls = append(urls, one)
		}
	}
	return urls
}

const (
	// joinPatience is how long a node that joins waits for a farm that has no leader now.
	joinPatience = 30 * time.Second
	// followFirst is short: a farm that is being set up has more coordinators a moment later.
	followFirst = time.Second
	followEvery = 30 * time.Second
	askTimeout  = 10 * time.Second
	locateRetry = 2 * time.Second
)

// locate gives where the farm is: as it was when the node last heard, or as it says now, however long it is away.
func (m *member) locate(ctx context.Context, log *slog.Logger) (node.Place, error) {
	for {
		if p := m.Place(); len(p.Coordinators) > 0 {
			return p, nil
		}
		err := m.ask(ctx)
		if err == nil {
			continue
		}
		if !errors.Is(err, farm.ErrUnreachable) && exitCode(err) != exitUnreachable {
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

// follow keeps up with where the farm is, until ctx ends, and says so when that changes.
func (m *member) follow(ctx context.Context, log *slog.Logger, moved func(node.Place)) {
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
func (m *member) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	urls := m.coordinators()
	if len(urls) == 0 {
		return usagef("%s does not know where the farm is: name a coordinator with --join", m.Path())
	}
	f, err := farm.Dial(strings.Join(urls, ","), farm.Options{TLS: m.credentials.ClientTLS(farm.Protocols()...), Patience: askTimeout})
	if err != nil {
		return err
	}
	defer f.Close()
	topology, err := farm.Ask(ctx, f, "ask where the farm is", f.Admin.Topology, &kilnv1.TopologyRequest{})
	if err != nil || len(topology.GetCoordinators()) == 0 {
		return err
	}
	return m.remember(topology)
}

const (
	renewEvery = 24 * time.Hour
	renewWait  = time.Minute
)

// keepValid has the certificate renewed in time, until ctx ends. A farm that does not answer is asked again a day later;
// there are months for that.
func (m *member) keepValid(ctx context.Context, log *slog.Logger, hosts ...string) {
	log = log.With("certificate", m.Credentials())
	for {
		if m.credentials.Worn(time.Now()) {
			err := m.renew(ctx, hosts)
			switch {
			case err == nil:
				log.Info("certificate renewed", "expires", m.credentials.Identity().Expires)
			case ctx.Err() == nil:
				log.Warn("the certificate could not be renewed; trying again tomorrow", "expires", m.credentials.Identity().Expires, "error", err)
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

// renew gets a new certificate: coordinators sign their own, the others ask.
func (m *member) renew(ctx context.Context, hosts []string) error {
	if m.authority != nil {
		if err := m.signOwn(hosts); err != nil {
			return err
		}
	} else {
		resp, err := enroll.Renew(ctx, m.credentials, enroll.Request{Addresses: m.coordinators(), Hosts: hosts, Patience: renewWait})
		if err != nil {
			return err
		}
		if err := m.remember(resp.GetTopology()); err != nil {
			return err
		}
	}
	return m.credentials.Save(m.Credentials())
}

func (m *member) signOwn(hosts []string) error {
	key, csr, err := pki.NewRequest(m.id)
	if err != nil {
		return err
	}
	who := m.credentials.Identity()
	certificate, err := m.authority.Sign(csr, pki.Identity{Farm: who.Farm, Name: who.Name, Role: who.Role}, hosts, time.Now())
	if err != nil {
		return err
	}
	return m.credentials.Replace(certificate, key)
}

// hostOf is what is before the port of an address; empty when that is no one host.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host).IsUnspecified() {
		return ""
	}
	return host
}
