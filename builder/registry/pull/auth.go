package pull

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

const (
	// plainAfter is how long a host on this machine or in a private network may take to show that it speaks https.
	plainAfter   = 300 * time.Millisecond
	maxRedirects = 10
)

// Repository reads one repository, with the logins of one team. It keeps what the registry let it in with.
type Repository struct {
	client  *Client
	repo    name.Repository
	schemes []string // to try
	keys    authn.Keychain
	http    *http.Client

	changing chan struct{} // full while somebody asks for another pass; guards refresh, too
	refresh  refreshed

	mu     sync.Mutex
	scheme string // that the registry speaks; empty: not known yet
	pass   *pass
}

// pass is what lets requests in.
type pass struct {
	header string     // Authorization; empty: none is needed, or there is none
	of     *challenge // what it answers; nil: nobody asked
	until  time.Time  // zero: nobody knows
	issued bool       // by a token service
	used   bool       // guarded by the Repository's mu
}

// RoundTrip implements http.RoundTripper, for r's own client: it shows the pass to the registry and to nobody else. One that is refused
// is renewed once: registries say 401, 403 or 400 to a token that has expired.
func (r *Repository) RoundTrip(req *http.Request) (*http.Response, error) {
	if !r.home(req.URL) {
		return r.abroad(req)
	}
	pass, err := r.enter(req.Context())
	if err != nil {
		return nil, err
	}
	fresh := r.use(pass)
	res, err := r.send(req, pass.header)
	if err != nil || !worthAnother(res.StatusCode, pass, fresh) {
		return res, err
	}
	another, err := r.renew(req.Context(), pass, fresh, challenges(res.Header))
	if another == nil && err == nil {
		return res, nil
	}
	discard(res)
	if err != nil {
		return nil, err
	}
	r.use(another)
	return r.send(req, another.header)
}

// use says whether a pass was not shown before.
func (r *Repository) use(p *pass) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh, p.used = !p.used, true
	return fresh
}

// worthAnother says that a refusal may be due to the pass.
func worthAnother(status int, p *pass, fresh bool) bool {
	switch status {
	case http.StatusUnauthorized:
		return true
	case http.StatusBadRequest, http.StatusForbidden:
		return p.header != "" && !fresh
	}
	return false
}

func (r *Repository) send(req *http.Request, authorization string) (*http.Response, error) {
	req, err := again(req)
	if err != nil {
		return nil, err
	}
	req.Header.Del("Authorization")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return r.client.base.RoundTrip(req)
}

// home says that a URL is the registry's own.
func (r *Repository) home(u *url.URL) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return u.Scheme == r.scheme && withPort(u.Scheme, u.Host) == withPort(u.Scheme, r.repo.RegistryStr())
}

func withPort(scheme, host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return strings.ToLower(host)
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return strings.ToLower(net.JoinHostPort(strings.Trim(host, "[]"), port))
}

// abroad is a request to where the registry sent us: nothing of the login goes there. A registry behind the registry may want
// a token that anybody gets.
func (r *Repository) abroad(req *http.Request) (*http.Response, error) {
	res, err := r.send(req, "")
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	for _, c := range challenges(res.Header) {
		if c.scheme != "bearer" {
			continue
		}
		other := &Repository{client: r.client, repo: r.repo, scheme: req.URL.Scheme}
		token, _, err := other.token(req.Context(), c, &authn.AuthConfig{})
		if err != nil {
			continue
		}
		discard(res)
		return r.send(req, "Bearer "+token)
	}
	return res, nil
}

// enter gives the pass. There is none before the registry was asked what it wants.
func (r *Repository) enter(ctx context.Context) (*pass, error) {
	if p := r.valid(); p != nil {
		return p, nil
	}
	if err := r.change(ctx); err != nil {
		return nil, err
	}
	defer r.changed()
	if p := r.valid(); p != nil {
		return p, nil // somebody was faster
	}
	r.mu.Lock()
	old := r.pass
	r.mu.Unlock()
	var asked []challenge
	if old == nil {
		var err error
		if asked, err = r.probe(ctx); err != nil {
			return nil, err
		}
	} else if old.of != nil {
		asked = []challenge{*old.of}
	}
	return r.admit(ctx, asked)
}

// valid is the pass, unless it has expired or there is none yet.
func (r *Repository) valid() *pass {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pass == nil || !r.pass.until.IsZero() && r.client.cfg.Now().After(r.pass.until) {
		return nil
	}
	return r.pass
}

// renew gives another pass than the one that was refused; nil when there is none. asked is what the refusal asks for.
func (r *Repository) renew(ctx context.Context, refused *pass, fresh bool, asked []challenge) (*pass, error) {
	if err := r.change(ctx); err != nil {
		return nil, err
	}
	defer r.changed()
	r.mu.Lock()
	now := r.pass
	r.mu.Unlock()
	if now != refused {
		return now, nil // somebody was faster
	}
	if choose(asked) == nil { // it says nothing, or only what is wrong
		if refused.of == nil {
			return nil, nil
		}
		asked = []challenge{*refused.of}
	}
	if fresh && refused.of != nil && r.alike(*choose(asked), *refused.of) {
		return nil, nil // it was made for that, a moment ago
	}
	p, err := r.admit(ctx, asked)
	if err != nil {
		return nil, err
	}
	if p.header == refused.header && !p.issued {
		return nil, nil // a token that reads as before may be good again
	}
	return p, nil
}

// change waits until nobody else asks for a pass.
func (r *Repository) change(ctx context.Context) error {
	select {
	case r.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Repository) changed() { <-r.changing }

// choose gives the best of several ways in: the token before the password, as docker and containerd do. nil when we know none.
func choose(asked []challenge) *challenge {
	for i, c := range asked {
		if c.scheme == "bearer" && c.params["realm"] != "" {
			return &asked[i]
		}
	}
	for i, c := range asked {
		if c.scheme == "basic" {
			return &asked[i]
		}
	}
	return nil
}

// alike says that two challenges are answered alike.
func (r *Repository) alike(a, b challenge) bool {
	scope := func(c challenge) string { return cmp.Or(c.params["scope"], r.repo.Scope("pull")) }
	return a.scheme == b.scheme && a.params["realm"] == b.params["realm"] && a.params["service"] == b.params["service"] && scope(a) == scope(b)
}

// admit makes a pass and keeps it. The caller has the right to change it.
func (r *Repository) admit(ctx context.Context, asked []challenge) (*pass, error) {
	login, err := r.login(ctx)
	if err != nil {
		return nil, err
	}
	best := choose(asked)
	p := &pass{of: best}
	switch {
	case login.RegistryToken != "":
		p.header = "Bearer " + login.RegistryToken
	case best != nil && best.scheme == "bearer":
		token, until, err := r.token(ctx, *best, login)
		if err != nil {
			return nil, err
		}
		p.header, p.until, p.issued = "Bearer "+token, until, true
	default:
		// Who lets everybody in may show more to whom it knows.
		p.header = basicHeader(login)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass = p
	return p, nil
}

func (r *Repository) login(ctx context.Context) (*authn.AuthConfig, error) {
	found, err := authn.Resolve(ctx, r.keys, r.repo)
	if err != nil {
		return nil, &LoginError{err}
	}
	login, err := authn.Authorization(ctx, found)
	if err != nil {
		return nil, &LoginError{err}
	}
	return login, nil
}

// probe finds out how the registry is spoken with, and what it asks for (distribution-spec, "Determining Support").
func (r *Repository) probe(ctx context.Context) ([]challenge, error) {
	type answer struct {
		scheme string
		asked  []challenge
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, len(r.schemes))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	ask := func(scheme string) {
		asking.Go(func() {
			asked, err := r.ping(ctx, scheme)
			answers <- answer{scheme, asked, err}
		})
	}
	ask(r.schemes[0])
	next := time.NewTimer(plainAfter)
	defer next.Stop()
	var errs []error
	for begun := 1; len(errs) < len(r.schemes); {
		select {
		case a := <-answers:
			if a.err == nil {
				r.mu.Lock()
				r.scheme = a.scheme
				r.mu.Unlock()
				return a.asked, nil
			}
			if untrusted(a.err) {
				return nil, a.err // it does speak https
			}
			errs = append(errs, a.err)
		case <-next.C:
		}
		if begun < len(r.schemes) {
			ask(r.schemes[begun])
			begun++
		}
	}
	return nil, errors.Join(errs...)
}

// untrusted says that a certificate is not to be trusted, the host's or our own.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var alert *net.OpError
	return errors.As(err, &verification) || errors.As(err, &alert) && alert.Op == "remote error"
}

// ping asks for nothing in particular. Any answer that is no failure shows that the registry is there.
func (r *Repository) ping(ctx context.Context, scheme string) ([]challenge, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.repo.RegistryStr()+"/v2/", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", r.client.cfg.UserAgent)
	client := http.Client{Transport: r.client.base, CheckRedirect: redirect}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || scheme == "http" && res.StatusCode == http.StatusBadRequest {
		return nil, statusError(res, r.client.cfg.Now()) // 400: what servers of https say to http
	}
	discard(res)
	if res.StatusCode == http.StatusUnauthorized {
		return challenges(res.Header), nil
	}
	return nil, nil
}

// trusted says whether a token service may be asked, and told a password: not without encryption where the registry has it.
func (r *Repository) trusted(u *url.URL) error {
	r.mu.Lock()
	scheme := r.scheme
	r.mu.Unlock()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || scheme == "https"):
		return &PolicyError{fmt.Sprintf("names %.200s as its token service, which has no https", u.Redacted())}
	case inward(r.repo.RegistryStr(), u.Host):
		return &PolicyError{fmt.Sprintf("names %.200s as its token service, an address of the builder's own machine or link", u.Redacted())}
	}
	return nil
}

// redirect is the CheckRedirect of all clients.
func redirect(to *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return &PolicyError{fmt.Sprintf("sends its clients on more than %d times", maxRedirects)}
	case to.URL.Scheme != "http" && to.URL.Scheme != "https":
		return &PolicyError{fmt.Sprintf("sends its clients on to %.200q", to.URL.Redacted())}
	case inward(via[0].URL.Host, to.URL.Host):
		return &PolicyError{fmt.Sprintf("sends its clients on to %.200s, an address of the builder's own machine or link", to.URL.Host)}
	}
	return nil
}

// inward says that a host elsewhere points at this machine, or at this link, where clouds keep what a machine may do. Names
// are not looked up.
func inward(from, to string) bool {
	return own(to) && !own(from)
}

func own(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	address = address.Unmap().WithZone("")
	return address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsUnspecified()
}
