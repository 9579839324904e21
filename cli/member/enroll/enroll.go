package enroll

import (
	"context"
	"crypto"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// DefaultPort is where a coordinator's API is when an address names no port.
const DefaultPort = "7300"

// Request says who wants to join which farm, and as what.
type Request struct {
	Addresses []string // URLs of coordinators, as URLs gives them
	Token     string
	ID        string     // the name that is asked for
	Roles     []pki.Role // those that will do; none: any
	Hosts     []string   // names and addresses under which others reach it
	Patience  time.Duration
}

// Joined is what a farm gives a new member.
type Joined struct {
	Credentials *pki.Credentials
	Response    *kilnv1.JoinResponse
}

// URLs reads addresses of coordinators as --join takes them: "kiln1:7300,https://kiln2". Those without a port are at
// 7300.
func URLs(addresses string) ([]string, error) {
	var urls []string
	for one := range strings.SplitSeq(addresses, ",") {
		one = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(one), "https://"), "/")
		if strings.Contains(one, "://") || strings.ContainsAny(one, "/ @") || one == "" {
			return nil, fmt.Errorf("%q is no address of a coordinator: it is HOST:PORT, or several with commas between", one)
		}
		if _, _, err := net.SplitHostPort(one); err != nil {
			one = net.JoinHostPort(strings.Trim(one, "[]"), DefaultPort)
		}
		urls = append(urls, "https://"+one)
	}
	return urls, nil
}

// Join gets a first certificate.
func Join(ctx context.Context, req Request) (*Joined, error) {
	claims, ca, err := pki.ReadToken(strings.TrimSpace(req.Token))
	if err != nil {
		return nil, err
	}
	if err := check(claims, req.Roles, time.Now()); err != nil {
		return nil, err
	}
	f, err := client.Dial(strings.Join(req.Addresses, ","), client.Options{
		TLS: pki.PinnedTLS(ca, client.Protocols()...), Patience: req.Patience,
		Stranger: fmt.Sprintf("the join token is for the farm %s, and what answers at %s is not of that farm: check --join, or make a token at that farm with kiln farm token",
			claims.Farm, strings.Join(req.Addresses, ", ")),
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	key, resp, err := sign(ctx, f, req)
	if err != nil {
		return nil, err
	}
	credentials, err := pki.NewCredentials(resp.GetCa(), resp.GetCertificate(), key)
	if err != nil {
		return nil, fmt.Errorf("the farm answered with a certificate that cannot be used: %w", err)
	}
	return &Joined{credentials, resp}, nil
}

// check finds out what is wrong with a token as far as its owner can tell, before anybody is asked.
func check(claims pki.Claims, roles []pki.Role, now time.Time) error {
	if !claims.Expires.IsZero() && now.After(claims.Expires) {
		return fmt.Errorf("%w: it expired at %s; make another one with kiln farm token --role %s", pki.ErrToken, claims.Expires.Format(time.RFC3339), claims.Role)
	}
	for _, role := range roles {
		if claims.Role == role {
			return nil
		}
	}
	if len(roles) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it is for the role %s, and this needs one for the role %s: make it with kiln farm token --role %s", pki.ErrToken, claims.Role, roles[0], roles[0])
}

// Renew replaces the certificate and the key of credentials that are still valid by new ones.
func Renew(ctx context.Context, credentials *pki.Credentials, req Request) (*kilnv1.JoinResponse, error) {
	f, err := client.Dial(strings.Join(req.Addresses, ","), client.Options{TLS: credentials.ClientTLS(client.Protocols()...), Patience: req.Patience})
	if err != nil {
		return nil, err
	}
	req.Token, req.ID = "", credentials.Identity().Name
	defer f.Close()
	key, resp, err := sign(ctx, f, req)
	if err != nil {
		return nil, err
	}
	if err := credentials.Replace(resp.GetCertificate(), key); err != nil {
		return nil, fmt.Errorf("the farm answered with a certificate that cannot be used: %w", err)
	}
	return resp, nil
}

// sign makes a key and has the farm sign a certificate for it.
func sign(ctx context.Context, f *client.Farm, req Request) (crypto.Signer, *kilnv1.JoinResponse, error) {
	key, csr, err := pki.NewRequest(req.ID)
	if err != nil {
		return nil, nil, err
	}
	token := strings.TrimSpace(req.Token)
	resp, err := client.Ask(ctx, f, "join the farm", f.Join.Join, &kilnv1.JoinRequest{Token: token, Id: req.ID, Csr: csr, Hosts: req.Hosts})
	return key, resp, err
}
