package access

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
)

// identify fills in what shows a farm who asks, and the team of the credentials when no other was named.
func (f *Flags) identify(ctx context.Context, env ui.Env, urls []string, opts *client.Options) error {
	if !strings.HasPrefix(urls[0], "https:") {
		return nil
	}
	path, err := f.CredentialsFor(env, urls)
	if err != nil {
		return err
	}
	credentials, err := LoadCredentials(ctx, path)
	if err != nil {
		return err
	}
	opts.TLS = credentials.ClientTLS(client.Protocols()...)
	if f.Team == "" {
		f.Team = credentials.Identity().Team
	}
	return nil
}

// LoadCredentials reads credentials that are valid now.
func LoadCredentials(ctx context.Context, path string) (*pki.Credentials, error) {
	credentials, err := pki.LoadCredentials(ctx, path)
	if err == nil {
		err = credentials.Check(time.Now())
	}
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	return credentials, nil
}

// CredentialsFor finds the file with the credentials for a farm.
func (f *Flags) CredentialsFor(env ui.Env, urls []string) (string, error) {
	if f.Credentials != "" {
		return f.Credentials, nil
	}
	for _, one := range urls {
		path := CredentialsPath(env, one)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", ui.Usagef("there are no credentials for %s: ask an operator of the farm for a token, who makes it with kiln farm token --role submit, and run kiln login %s --token TOKEN",
		urls[0], urls[0])
}

// CredentialsPath is where kiln login keeps the credentials for a farm's URL (XDG base directory specification).
func CredentialsPath(env ui.Env, address string) string {
	dir := env.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(env.Getenv("HOME"), ".config")
	}
	name := "unknown"
	if u, err := url.Parse(address); err == nil {
		name = fileName(u)
	}
	return filepath.Join(dir, "kiln", "credentials", name+".pem")
}

// fileName is host_port, with what no file name should have made harmless: IPv6 addresses have colons.
func fileName(u *url.URL) string {
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil || port == "" {
		port = "443"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, strings.ToLower(u.Hostname())) + "_" + port
}
