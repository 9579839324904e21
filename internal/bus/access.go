package bus

import (
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/nats-io/nats-server/v2/server"
)

// access decides what a connection may do, by the role in its certificate. It implements server.Authentication.
type access struct{ subjects Subjects }

// Check implements server.Authentication.
func (a access) Check(c server.ClientAuthentication) bool {
	state := c.GetTLSConnectionState()
	if state == nil {
		// Nothing comes over a network without TLS when there is an access; a pipe is this process itself.
		return c.RemoteAddress() != nil && c.RemoteAddress().Network() == "pipe"
	}
	who, err := pki.PeerIdentity(state)
	if err != nil {
		return false
	}
	switch who.Role {
	case pki.RoleCoordinator:
		return true
	case pki.RoleBuilder:
		c.RegisterUser(&server.User{Username: string(who.Role) + "/" + who.Name, Permissions: a.builder(who.Name)})
		return true
	}
	return false
}

// builder is what a builder may say and hear: its own requests, its own answers, its own stops, and who leads.
func (a access) builder(name string) *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			a.subjects.Lease(name), a.subjects.Complete(name), a.subjects.Heartbeat(name), a.subjects.Release(name),
			a.subjects.farm + ".log." + token(name) + ".*",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{a.subjects.Stop(name), a.subjects.Leader(), Inbox(name) + ".>"}},
	}
}

// Inbox is the prefix of the subjects at which a builder hears answers: give it to DialOptions.
func Inbox(name string) string { return "_INBOX." + token(name) }
