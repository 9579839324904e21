package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is what part of a farm somebody is.
type Role string

// The roles.
const (
	RoleCoordinator Role = "coordinator"
	RoleBuilder     Role = "builder"
	RoleEdge        Role = "edge"
	RoleSubmit      Role = "submit" // submits builds and fetches what came of them
	RoleAdmin       Role = "admin"
)

var roles = []Role{RoleCoordinator, RoleBuilder, RoleEdge, RoleSubmit, RoleAdmin}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	if slices.Contains(roles, Role(s)) {
		return Role(s), nil
	}
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return "", fmt.Errorf("role %.40q: it is one of %s", s, strings.Join(names, ", "))
}

// Identity is who a certificate is for.
type Identity struct {
	Farm, Name string
	Team       string // the only one that the owner acts for; empty: any
	Role       Role
	Expires    time.Time
	Key        [sha256.Size]byte // SHA-256 of the public key (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7)
}

// ErrNoIdentity: the other side of the connection showed no certificate.
var ErrNoIdentity = errors.New("no certificate was shown")

// PeerIdentity is who is at the other side of a connection whose certificate was verified.
func PeerIdentity(state *tls.ConnectionState) (Identity, error) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return Identity{}, ErrNoIdentity
	}
	return identityOf(state.VerifiedChains[0][0])
}

// coordinatorName is the DNS name in every coordinator's certificate.
const coordinatorName = "coordinator.kiln"

func identityOf(c *x509.Certificate) (Identity, error) {
	id := Identity{Name: c.Subject.CommonName, Expires: c.NotAfter, Key: sha256.Sum256(c.RawSubjectPublicKeyInfo), Farm: farmOf(c.Issuer)}
	if len(c.Subject.OrganizationalUnit) != 1 || id.Name == "" || len(c.Subject.Organization) > 1 {
		return Identity{}, errors.New("the certificate says no role: it is not one of a farm's")
	}
	var err error
	if id.Role, err = ParseRole(c.Subject.OrganizationalUnit[0]); err != nil {
		return Identity{}, fmt.Errorf("the certificate of %.80q: %w", id.Name, err)
	}
	if len(c.Subject.Organization) == 1 {
		id.Team = c.Subject.Organization[0]
	}
	return id, nil
}

func subjectOf(id Identity) pkix.Name {
	name := pkix.Name{CommonName: id.Name, OrganizationalUnit: []string{string(id.Role)}}
	if id.Team != "" {
		name.Organization = []string{id.Team}
	}
	return name
}

// farmOf is the farm whose authority has that subject.
func farmOf(subject pkix.Name) string { return strings.TrimPrefix(subject.CommonName, authorityPrefix) }
