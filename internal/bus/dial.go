package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/nats-io/nats.go"
)

// ErrUnreachable: no server answers at any of the addresses.
var ErrUnreachable = errors.New("nothing answers at the bus address")

// DialOptions say how to reach a bus.
type DialOptions struct {
	URLs            []string    // of its servers: nats:// or tls://, with a user and a password where an external bus wants them
	Name            string      // for people who look at the server
	TLS             *tls.Config // nil: the URL's scheme decides, with the system's authorities
	Inbox           string      // prefix of the subjects at which answers come, see Inbox; NATS's own when empty
	CredentialsFile string      // of a user of an external bus, as NATS's tools write it
}

// Dial connects to one of the servers, and to another one whenever the connection breaks, until it is closed.
func Dial(o DialOptions) (*nats.Conn, error) {
	opts := clientOptions(o.Name)
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	if o.Inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.Inbox))
	}
	if o.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredentialsFile))
	}
	nc, err := nats.Connect(strings.Join(o.URLs, ","), opts...)
	if err == nil {
		return nc, nil
	}
	where := strings.Join(Redacted(o.URLs), ", ")
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return nil, fmt.Errorf("the bus at %s does not let %s in: a NATS of your own needs a user and a password (--nats nats://USER:PASSWORD@HOST:4222) or --nats-creds FILE; a farm's own needs a certificate of the farm", where, o.Name)
	case errors.Is(err, nats.ErrNoServers):
		return nil, fmt.Errorf("%w %s: is the farm up?", ErrUnreachable, where)
	case errors.Is(err, nats.ErrSecureConnRequired):
		return nil, fmt.Errorf("the bus at %s wants TLS: use tls:// in its URL", where)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return nil, fmt.Errorf("the bus at %s does not speak TLS: is it another NATS server?", where)
	}
	return nil, fmt.Errorf("connect %s to the bus at %s: %s", o.Name, where, redact(pki.Explain(err).Error(), o.URLs))
}

// Redacted is URLs without their passwords.
func Redacted(urls []string) []string {
	out := make([]string, len(urls))
	for i, text := range urls {
		if u, err := url.Parse(text); err == nil {
			out[i] = u.Redacted()
		} else {
			out[i] = "(a URL that cannot be read)"
		}
	}
	return out
}

// redact takes the URLs' passwords out of text.
func redact(text string, urls []string) string {
	for _, one := range urls {
		if u, err := url.Parse(one); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok && password != "" {
				text = strings.ReplaceAll(text, password, "xxxxx")
			}
		}
	}
	return text
}

func clientOptions(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait/2),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.FlusherTimeout(writeDeadline),
		// What was said before a reconnect is stale after it: better lost than late.
		nats.ReconnectBufSize(-1),
		// A refused certificate or password may be mended while we try again.
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // slow consumers lose messages; the default prints
	}
}

const dialTimeout = 2 * time.Second
