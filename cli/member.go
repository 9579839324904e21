package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/enroll"
	"github.com/kiln-farm/kiln/cli/node"
	"github.com/kiln-farm/kiln/cli/ui"
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
func (f *nodeFlags) open(ctx context.Context, env ui.Env, role pki.Role, patience time.Duration, hosts ...string) (m *member, err error) {
	if f.data == "" {
		return nil, ui.Usagef("--data DIR is missing: it is the directory for what must survive a restart")
	}
	var join []string
	if f.join != "" {
		if join, err = enroll.URLs(f.join); err != nil {
			return nil, ui.Usagef("--join: %w", err)
		}
	}
	token, err := f.token.read(ctx, env)
	if err != nil {
		return nil, err
	}
	data, err := node.Open(f.data)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	m = &member{Data: data, role: role, join: join}
	defer func() {
		if err != nil {
			err = errors.Join(err, data.Close())
		}
	}()
	if m.id, err = data.ID(f.id); err != nil {
		return nil, ui.Usagef("%w", err)
	}
	why, err := m.load(ctx)
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
func (m *member) load(ctx context.Context) (why, err error) {
	credentials, err := pki.LoadCredentials(ctx, m.Credentials())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds no certificate yet", m.Path()), nil
	}
	if err != nil {
		return nil, err
	}
	who := credentials.Identity()
	if who.Role != m.role {
		return nil, ui.Usagef("data directory %s is that of a %s: a %s needs one of its own", m.Path(), who.Role, m.role)
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
		return ui.Usagef("%w: kiln init --data %s makes a new farm, and --join HOST:PORT with --token joins one", why, m.Path())
	case token == "":
		return ui.Usagef("%w: a token is needed with --token, --token-file or KILN_TOKEN; kiln farm token --role %s makes it", why, m.role)
	case m.join == nil:
		return ui.Usagef("%w: --join HOST:PORT says where a coordinator of the farm is", why)
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

// joinPatience is how long a node that joins waits for a farm that has no leader now.
const joinPatience = 30 * time.Second

// hostOf is what is before the port of an address; empty when that is no one host.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host).IsUnspecified() {
		return ""
	}
	return host
}
