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
	servers, err := parseURLs(o.URLs)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(strings.Join(servers, ","), opts...)
	if err == nil {
		if most := nc.MaxPayload(); most < MaxPayload+maxHeader {
			nc.Close()
			return nil, fmt.Errorf("the bus at %s takes messages of %d bytes at most, and a farm needs %d: raise max_payload in its configuration",
				strings.Join(Redacted(o.URLs), ", "), most, MaxPayload+maxHeader)
		}
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

// parseURLs checks URLs, and gives those without a scheme the one that NATS would take. What cannot be read is not
// repeated: there may be a password in it.
func parseURLs(urls []string) ([]string, error) {
	out := make([]string, len(urls))
	for i, text := range urls {
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("the bus's URL number %d cannot be read: it is like nats://HOST:4222 or tls://USER:PASSWORD@HOST:4222, with signs in the password written as %%XX", i+1)
		}
		out[i] = text
	}
	return out, nil
}

// Redacted is URLs without the users, passwords and tokens in them.
func Redacted(urls []string) []string {
	out := make([]string, len(urls))
	for i, text := range urls {
		one, err := parseURLs([]string{text})
		if err != nil {
			out[i] = "(a URL that cannot be read)"
			continue
		}
		u, _ := url.Parse(one[0]) // parseURLs has
		u.User = nil
		out[i] = u.String()
	}
	return out
}

// redact takes the URLs' secrets out of text.
func redact(text string, urls []string) string {
	for _, one := range urls {
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.User == nil {
			continue
		}
		if password, ok := u.User.Password(); ok && password != "" {
			text = strings.ReplaceAll(text, password, "xxxxx")
		} else {
			text = strings.ReplaceAll(text, u.User.Username(), "xxxxx") // a token
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
