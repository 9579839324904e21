package member

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

	"github.com/kiln-farm/kiln/cli/member/enroll"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Flags say which data directory a process of a farm has, and how it gets into the farm the first time.
type Flags struct {
	Data, ID, Join string
	Token          TokenFlags
}

func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.Data, "data", "", "directory for what must survive a restart")
	flags.StringVar(&f.ID, "id", "", "name in the farm (default: the host's name and four random digits; it is kept in DATA/id)")
	flags.StringVar(&f.Join, "join", "", "HOST:PORT of a coordinator of the farm, or several with commas between")
	f.Token.Add(flags.StringVar)
}

// Member is a process of a farm: its data directory, its name and its certificate.
type Member struct {
	*node.Data
	ID          string
	Role        pki.Role
	Certificate *pki.Credentials
	Authority   *pki.Authority // of coordinators
	join        []string       // URLs of coordinators, as the flags say
}

// Open takes the data directory, and joins the farm when there is no certificate in it that is valid.
func (f *Flags) Open(ctx context.Context, env ui.Env, role pki.Role, patience time.Duration, hosts ...string) (m *Member, err error) {
	if f.Data == "" {
		return nil, ui.Usagef("--data DIR is missing: it is the directory for what must survive a restart")
	}
	var join []string
	if f.Join != "" {
		if join, err = enroll.URLs(f.Join); err != nil {
			return nil, ui.Usagef("--join: %w", err)
		}
	}
	token, err := f.Token.Read(ctx, env)
	if err != nil {
		return nil, err
	}
	data, err := node.Open(f.Data)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	m = &Member{Data: data, Role: role, join: join}
	defer func() {
		if err != nil {
			err = errors.Join(err, data.Close())
		}
	}()
	if m.ID, err = data.ID(f.ID); err != nil {
		return nil, ui.Usagef("%w", err)
	}
	why, err := m.Load(ctx)
	if err == nil && why != nil {
		err = m.enroll(ctx, token, why, patience, hosts)
	}
	if err != nil {
		return nil, err
	}
	if role == pki.RoleCoordinator {
		if m.Authority, err = pki.LoadAuthority(m.PKI()); err != nil {
			return nil, fmt.Errorf("the farm's authority in %s cannot be used: %w; a coordinator that lost it joins anew, with an empty data directory", m.PKI(), err)
		}
	}
	return m, nil
}

// Load reads the certificate that is there. When there is none that can be used, why says so.
func (m *Member) Load(ctx context.Context) (why, err error) {
	credentials, err := pki.LoadCredentials(ctx, m.Credentials())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds no certificate yet", m.Path()), nil
	}
	if err != nil {
		return nil, err
	}
	who := credentials.Identity()
	if who.Role != m.Role {
		return nil, ui.Usagef("data directory %s is that of a %s: a %s needs one of its own", m.Path(), who.Role, m.Role)
	}
	if err := credentials.Check(time.Now()); err != nil {
		return fmt.Errorf("%s: %w", m.Credentials(), err), nil
	}
	m.ID, m.Certificate = who.Name, credentials
	return nil, nil
}

// enroll joins the farm with a token and keeps what it gives.
func (m *Member) enroll(ctx context.Context, token string, why error, patience time.Duration, hosts []string) error {
	switch {
	case token == "" && m.Role == pki.RoleCoordinator && m.join == nil:
		return ui.Usagef("%w: kiln init --data %s makes a new farm, and --join HOST:PORT with --token joins one", why, m.Path())
	case token == "":
		return ui.Usagef("%w: a token is needed with --token, --token-file or KILN_TOKEN; kiln farm token --role %s makes it", why, m.Role)
	case m.join == nil:
		return ui.Usagef("%w: --join HOST:PORT says where a coordinator of the farm is", why)
	}
	joined, err := enroll.Join(ctx, enroll.Request{
		Addresses: m.join, Token: token, ID: m.ID, Roles: []pki.Role{m.Role}, Hosts: hosts, Patience: patience,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.PKI(), 0o700); err != nil {
		return fmt.Errorf("keep the certificate: %w", err)
	}
	if m.Role == pki.RoleCoordinator {
		authority, err := pki.ParseAuthority(joined.Response.GetCa(), joined.Response.GetCaKey())
		if err == nil {
			err = authority.Save(m.PKI())
		}
		if err != nil {
			return fmt.Errorf("keep the farm's authority: %w", err)
		}
	}
	m.Certificate = joined.Credentials
	m.ID = joined.Credentials.Identity().Name
	if err := m.KeepID(m.ID); err != nil {
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
func (m *Member) remember(t *kilnv1.TopologyResponse) error {
	return m.Remember(node.Place{
		Farm: m.Certificate.Identity().Farm, Coordinators: t.GetCoordinators(), Buses: t.GetBuses(), Store: t.GetStore(),
	})
}

// Coordinators are the URLs at which the farm may be: those of the flags, then those that it told last.
func (m *Member) Coordinators() []string {
	urls := slices.Clone(m.join)
	for _, one := range CoordinatorURLs(m.Place().Coordinators) {
		if !slices.Contains(urls, one) {
			urls = append(urls, one)
		}
	}
	return urls
}

// JoinPatience is how long a node that joins waits for a farm that has no leader now.
const JoinPatience = 30 * time.Second

// HostOf is what is before the port of an address; empty when that is no one host.
func HostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host).IsUnspecified() {
		return ""
	}
	return host
}
