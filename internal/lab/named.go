package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Named is a DNS server of its own: BIND, on a free port of loopback, primary for its zones, which take updates with a key.
type Named struct {
	Address string // host:port
	Keys    string // path of a file with the key, mode 0600
	Log     string // path of its output

	dir      string
	conf     string
	program  string // a copy: Debian's AppArmor profile, which goes by the path, lets named read its own directories only
	launcher *launcher
	process  *process
}

// NamedKey is the name of the key.
const NamedKey = "kiln-ddns"

const (
	namedKeys = `key "` + NamedKey + `" {
	algorithm hmac-sha256;
	secret "c2l4dGVlbiBieXRlcyBhcmUgdG9vIGZldyBmb3IgaXQ=";
};
`
	namedZone = `$TTL 60
@ IN SOA ns.invalid. root.invalid. (1 60 60 60 0)
@ IN NS ns.invalid.
`
)

// NamedAble says why no Named can be started here; nil: one can.
func NamedAble() error {
	if _, err := exec.LookPath("named"); err != nil {
		return errors.New("named is not installed; run: apt-get install --no-install-recommends bind9")
	}
	return nil
}

// StartNamed starts a server below dir, which must exist. Close must be called.
func StartNamed(ctx context.Context, dir string, zones ...string) (*Named, error) {
	n := &Named{dir: dir, Keys: filepath.Join(dir, "kiln.key"), Log: filepath.Join(dir, "named.log"), conf: filepath.Join(dir, "named.conf"), launcher: newLauncher()}
	var p ports
	n.program = filepath.Join(dir, "named")
	err := copyProgram("named", n.program)
	if err == nil {
		err = os.WriteFile(n.Keys, []byte(namedKeys), 0o600)
	}
	if err == nil {
		n.Address, err = p.free("127.0.0.1")
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	_, port, _ := net.SplitHostPort(n.Address)
	var conf strings.Builder
	fmt.Fprintf(&conf, `include "%s";
options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; notify no; allow-transfer { 127.0.0.1; };
};
controls { };
`, n.Keys, dir, port)
	for _, zone := range zones {
		file := filepath.Join(dir, strings.ReplaceAll(zone, "/", "_")+".zone")
		if err := os.WriteFile(file, []byte(namedZone), 0o600); err != nil {
			return nil, errors.Join(err, n.Close())
		}
		fmt.Fprintf(&conf, "zone \"%s\" { type primary; file \"%s\"; update-policy { grant %s zonesub any; }; };\n", zone, file, NamedKey)
	}
	err = os.WriteFile(n.conf, []byte(conf.String()), 0o600)
	if err == nil {
		err = n.Start(ctx, zones...)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func copyProgram(name, to string) error {
	from, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o700)
}

// Start starts it again after Stop, with what its zones held, and waits until it answers for zones.
func (n *Named) Start(ctx context.Context, zones ...string) (err error) {
	if n.process, err = n.launcher.run(n.Log, []string{"PATH=" + os.Getenv("PATH")}, n.program, "-g", "-n", "1", "-c", n.conf); err != nil {
		return err
	}
	for _, zone := range zones {
		for {
			if _, err := n.Zone(zone); err == nil {
				break
			}
			select {
			case <-time.After(askEvery):
			case <-n.process.done:
				return fmt.Errorf("named ended: %w: %s", n.process.err, lastOf(n.Log))
			case <-ctx.Done():
				return fmt.Errorf("named does not answer for %s: %w: %s", zone, ctx.Err(), lastOf(n.Log))
			}
		}
	}
	return nil
}

// Stop ends it as SIGKILL does.
func (n *Named) Stop() { n.process.kill() }

// Close ends it.
func (n *Named) Close() error {
	if n.process != nil {
		n.process.kill()
	}
	n.launcher.close()
	return nil
}

// Zone is what a zone holds beside its SOA and NS records, as sorted lines "name TYPE data"; the data of DHCID records is left out.
func (n *Named) Zone(zone string) ([]string, error) { return ZoneAt(n.Address, zone) }

// ZoneAt is Named.Zone of any server that allows transfers.
func ZoneAt(server, zone string) ([]string, error) {
	m := &dns.Msg{}
	m.SetAxfr(dns.Fqdn(zone))
	parts, err := (&dns.Transfer{DialTimeout: time.Second, ReadTimeout: 5 * time.Second}).In(m, server)
	if err != nil {
		return nil, err
	}
	var out []string
	for part := range parts {
		if part.Error != nil {
			err = part.Error
			continue
		}
		for _, rr := range part.RR {
			h := rr.Header()
			name, kind := strings.TrimSuffix(h.Name, "."), dns.TypeToString[h.Rrtype]
			switch h.Rrtype {
			case dns.TypeSOA, dns.TypeNS:
			case dns.TypeDHCID:
				out = append(out, name+" "+kind)
			default:
				out = append(out, strings.TrimSuffix(name+" "+kind+" "+strings.TrimPrefix(rr.String(), h.String()), "."))
			}
		}
	}
	slices.Sort(out)
	return out, err
}

// Update sends an update that is signed with the key, as an operator's nsupdate would.
func (n *Named) Update(zone string, add ...string) error {
	m := &dns.Msg{}
	m.SetUpdate(dns.Fqdn(zone))
	for _, text := range add {
		rr, err := dns.NewRR(text)
		if err != nil {
			return err
		}
		m.Insert([]dns.RR{rr})
	}
	const secret = "c2l4dGVlbiBieXRlcyBhcmUgdG9vIGZldyBmb3IgaXQ="
	m.SetTsig(dns.Fqdn(NamedKey), dns.HmacSHA256, 300, time.Now().Unix())
	answer, _, err := (&dns.Client{Net: "tcp", TsigSecret: map[string]string{dns.Fqdn(NamedKey): secret}}).Exchange(m, n.Address)
	if err == nil && answer.Rcode != dns.RcodeSuccess {
		err = errors.New(dns.RcodeToString[answer.Rcode])
	}
	return err
}
