package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ClientTLS is for connections to a coordinator of the farm; next are the protocols that are asked for (ALPN).
func (c *Credentials) ClientTLS(next ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: c.pool, ServerName: coordinatorName, NextProtos: next,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &c.own.Load().certificate, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error { return hasRole(&state, RoleCoordinator) },
	}
}

// ServerTLS is for a coordinator's port. Whoever shows a certificate must show one of the farm; whoever shows none
// is let in, to join.
func (c *Credentials) ServerTLS(next ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientCAs: c.pool, ClientAuth: tls.VerifyClientCertIfGiven, NextProtos: next,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.own.Load().certificate, nil },
	}
}

// PeerTLS is for both ends of a connection between coordinators.
func (c *Credentials) PeerTLS(next ...string) (client, server *tls.Config) {
	client, server = c.ClientTLS(next...), c.ServerTLS(next...)
	server.ClientAuth = tls.RequireAndVerifyClientCert
	server.VerifyConnection = func(state tls.ConnectionState) error { return hasRole(&state, RoleCoordinator) }
	return client, server
}

// RoleTLS is ServerTLS for a port that is open to certain roles only.
func (c *Credentials) RoleTLS(roles ...Role) *tls.Config {
	server := c.ServerTLS()
	server.ClientAuth = tls.RequireAndVerifyClientCert
	server.VerifyConnection = func(state tls.ConnectionState) error { return hasRole(&state, roles...) }
	return server
}

func hasRole(state *tls.ConnectionState, roles ...Role) error {
	id, err := PeerIdentity(state)
	if err != nil {
		return err
	}
	if !slices.Contains(roles, id.Role) {
		return fmt.Errorf("the certificate of %s is for the role %s, which has no business here", id.Name, id.Role)
	}
	return nil
}

// errPinned: the server belongs to another farm than the token.
var errPinned = errors.New("the server is not of the farm that the join token is for")

// PinnedTLS is for one who has nothing but a join token: it trusts a coordinator whose chain ends in the CA
// certificate with that SHA-256.
func PinnedTLS(ca [sha256.Size]byte, next ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: coordinatorName, NextProtos: next,
		InsecureSkipVerify: true, // the chain is verified below, against a CA that is known by its digest only
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if len(chain) < 2 || sha256.Sum256(chain[len(chain)-1].Raw) != ca {
				return errPinned
			}
			pool := x509.NewCertPool()
			pool.AddCert(chain[len(chain)-1])
			verified, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: coordinatorName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			if err != nil {
				return err
			}
			id, err := identityOf(verified[0][0])
			if err == nil && id.Role != RoleCoordinator {
				err = fmt.Errorf("the server is a %s, not a coordinator", id.Role)
			}
			return err
		},
	}
}

// Explain makes a sentence of what TLS says to a client whose connection was refused, by either side. Other errors
// stay as they are.
func Explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil, errors.Is(err, errPinned):
		return err
	case errors.As(err, &unknown):
		return fmt.Errorf("the server is of another farm than your credentials: check the address, or get credentials of that farm with kiln login: %w", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the server's certificate has expired, or this machine's clock is wrong: %w", err)
	}
	for _, alert := range alerts {
		if strings.Contains(err.Error(), "remote error: tls: "+alert.text) {
			return fmt.Errorf("%s: %w", alert.means, err)
		}
	}
	return err
}

// alerts are what servers send when they refuse a client (RFC 8446 §6.2), as crypto/tls words them: it exports no
// type for them.
var alerts = []struct{ text, means string }{
	{"expired certificate", "your certificate has expired: get a new one with kiln login, or kiln farm join for a part of the farm"},
	{"unknown certificate authority", "your certificate is of another farm than the server: get credentials of that farm with kiln login"},
	{"bad certificate", "the server does not take your certificate: it is of another farm, or for another role"},
	{"access denied", "the server does not take your certificate: it is of another farm, or for another role"},
	{"certificate required", "the server wants a certificate of its farm: get credentials with kiln login"},
}
