package admin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/member/enroll"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/outfile"
	"github.com/kiln-farm/kiln/internal/pki"
)

func NewLogin(env ui.Env) *cobra.Command {
	var token member.TokenFlags
	var path, id string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "login [flags] URL",
		Short: "Exchange a token for credentials of a farm",
		Long: `Get a certificate for a farm, for a person or for CI, and keep it where every command that takes --farm finds it:
~/.config/kiln/credentials. An operator makes the token with kiln farm token --role submit, or --role admin.
Without a token it gets a new certificate for the one that is there.`,
		Example: `  kiln login https://kiln1:7300 --token-file token.txt
  KILN_TOKEN=… kiln login https://kiln1:7300,https://kiln2:7300 --credentials ci.pem`,
		Args: ui.Between(1, 1, "the URL of a farm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := token.Read(cmd.Context(), env)
			if err != nil {
				return err
			}
			return login(cmd.Context(), env, args[0], text, path, id, asJSON)
		},
	}
	token.Add(cmd.Flags().StringVar)
	cmd.Flags().StringVar(&path, "credentials", "", "file to keep the certificate in (KILN_CREDENTIALS)")
	cmd.Flags().StringVar(&id, "id", "", "name that the farm shows for what you do (default USER@HOST)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func login(ctx context.Context, env ui.Env, address, token, path, id string, asJSON bool) error {
	urls, err := client.ParseURLs(address)
	if err != nil {
		return ui.Usagef("%s", strings.Replace(err.Error(), "--farm", "URL", 1))
	}
	if !strings.HasPrefix(urls[0], "https:") {
		return ui.Usagef("%s: a farm at http asks for no credentials; one with credentials is at https", urls[0])
	}
	req := enroll.Request{Addresses: urls, Token: token, ID: id, Roles: []pki.Role{pki.RoleSubmit, pki.RoleAdmin}, Patience: access.Patience}
	if req.ID == "" {
		req.ID = userName(env)
	}
	joined, err := obtain(ctx, env, path, req)
	if err != nil {
		return err
	}
	paths := []string{path}
	if path == "" {
		paths = paths[:0]
		for _, one := range append(urls, member.CoordinatorURLs(joined.Response.GetTopology().GetCoordinators())...) {
			paths = append(paths, access.CredentialsPath(env, one))
		}
	}
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("keep the credentials: %w", outfile.DiskError(filepath.Dir(path), err))
		}
		if err := joined.Credentials.Save(path); err != nil {
			return fmt.Errorf("keep the credentials: %w", err)
		}
	}
	who := joined.Credentials.Identity()
	if asJSON {
		return ui.WriteJSON(env.Stdout, whoIs(who, paths[0]))
	}
	team := ""
	if who.Team != "" {
		team = ", team " + who.Team
	}
	_, err = fmt.Fprintf(env.Stdout, "logged in to farm %s as %s (%s%s) until %s\n%s\n", who.Farm, who.Name, who.Role, team, who.Expires.Format(time.DateOnly), paths[0])
	return err
}

// identity is who a certificate says one is, for scripts.
type identity struct {
	Farm    string    `json:"farm"`
	Name    string    `json:"name"`
	Role    pki.Role  `json:"role"`
	Team    string    `json:"team,omitempty"`
	Expires time.Time `json:"expires"`
	Path    string    `json:"path"`
}

func whoIs(who pki.Identity, path string) identity {
	return identity{who.Farm, who.Name, who.Role, who.Team, who.Expires.UTC(), path}
}

// obtain gets a certificate for the token, or without one a new certificate for the one that is there.
func obtain(ctx context.Context, env ui.Env, path string, req enroll.Request) (*enroll.Joined, error) {
	if req.Token != "" {
		return enroll.Join(ctx, req)
	}
	flags := access.Flags{Credentials: path}
	path, err := flags.CredentialsFor(env, req.Addresses)
	if err != nil {
		return nil, err
	}
	credentials, err := access.LoadCredentials(ctx, path)
	if err != nil {
		return nil, err
	}
	resp, err := enroll.Renew(ctx, credentials, req)
	return &enroll.Joined{Credentials: credentials, Response: resp}, err
}

// userName is USER@HOST, for the farm's people to see who did what.
func userName(env ui.Env) string {
	user := env.Getenv("USER")
	if user == "" {
		user = "somebody"
	}
	if host, err := os.Hostname(); err == nil {
		return user + "@" + host
	}
	return user
}
