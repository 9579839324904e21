package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/builder/registry/pull"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
)

// tries is how often a fetch is joined whose other callers were stopped.
const tries = 4

// problem is a fault of a registry with a sentence for people.
type problem struct {
	sentence string
	err      error
}

func (p *problem) Error() string { return p.sentence }
func (p *problem) Unwrap() error { return p.err }

// subject is what was asked of a registry: an image, or a part of it.
type subject struct {
	reference string
	part      string // "blob sha256:…", "manifest sha256:…" of an index; empty: the image itself
}

// explain makes a sentence of what a request ended with. A host that cannot be reached after all tries is most likely no host, and one that
// asks for an hour means it: the leader would only have it all repeated, and the user wait for the same sentence. What else
// is the registry's bad day may end, and is tried again later.
func explain(err error, host string, of subject, patience time.Duration) error {
	var failure *step.Failure
	var token *pull.TokenError
	var status *pull.StatusError
	var policy *pull.PolicyError
	var certificate *pull.CertificateError
	var untrusted *tls.CertificateVerificationError
	who := "registry " + host
	if errors.As(err, &token) {
		who = fmt.Sprintf("token service %s of registry %s", token.Service, host)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &failure):
		return failure // of the logins
	case errors.As(err, &status):
		return explainStatus(err, status, who, host, of, patience)
	case errors.As(err, &policy) && token != nil:
		return fail(err, "%s gave no token for %s: %s", who, of.reference, policy)
	case errors.As(err, &policy):
		return fail(err, "%s %s, so %s cannot be read from it; name another with --mirror", who, policy, of.reference)
	case errors.As(err, &certificate):
		return fail(err, "certificate %s; it is for %s", certificate, who)
	case errors.As(err, &untrusted):
		return fail(err, "%s shows a certificate that is not to be trusted: %s; put its authority into /etc/docker/certs.d/%s/ca.crt, or name it with SSL_CERT_FILE",
			who, firstLine(untrusted.Err.Error()), host)
	case wantsCertificate(err):
		return fail(err, "%s does not take the client certificate that it was shown, or wants one (%s); put it as client.cert with client.key into /etc/docker/certs.d/%s",
			who, firstLine(root(err)), host)
	case pull.Unreachable(err):
		return explainUnreachable(err, who, of)
	}
	return fail(err, "image %s cannot be read from registry %s: %s", of.reference, host, firstLine(err.Error()))
}

func explainStatus(err error, status *pull.StatusError, who, host string, of subject, patience time.Duration) error {
	isToken := !strings.HasPrefix(who, "registry ")
	switch {
	case status.Asked > 0:
		return fail(err, "%s answers %d for %s and asks to wait %d s, longer than Kiln does (%d s in all); build again then, or name another with --mirror",
			who, status.Status, of.reference, status.Asked/time.Second, patience/time.Second)
	case status.Denied():
		return fail(err, "registry %s does not let you read %s; check its name, or log in with `docker login %s`", host, of.reference, host)
	case status.Status == http.StatusNotFound && !isToken && of.part != "":
		return fail(err, "registry %s has image %s, but not its %s; push the image again, or name another registry with --mirror", host, of.reference, of.part)
	case status.Status == http.StatusNotFound && !isToken:
		return fail(err, "image %s is not in registry %s; check its name and tag", of.reference, host)
	case pull.Passing(err):
		return &problem{fmt.Sprintf("%s answers %d for %s; try again later, or name another with --mirror", who, status.Status, of.reference), err}
	}
	return fail(err, "%s answers %s for %s", who, status.Text(), of.reference)
}

func explainUnreachable(err error, who string, of subject) error {
	var stall *pull.StallError
	what := of.reference
	if of.part != "" {
		what = of.part + " of " + of.reference
	}
	if errors.As(err, &stall) {
		return fail(err, "%s stops while it sends %s, again and again, for %s each time; check the network, or name another with --mirror", who, what, stall.For)
	}
	return fail(err, "%s cannot be reached for %s: %s; check the name and the network, or name a mirror with --mirror", who, of.reference, firstLine(root(err)))
}

// wantsCertificate knows the alerts of TLS about a client certificate (RFC 8446 §6.2), which have no type of their own.
func wantsCertificate(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate")
}

// denied says that the registry wants another login, or none helps.
func denied(err error) bool {
	var status *pull.StatusError
	return errors.As(err, &status) && status.Denied()
}

func fail(err error, format string, args ...any) error {
	return &step.Failure{Err: &problem{fmt.Sprintf(format, args...), err}}
}

// lied is fail for bytes that are not those of their digest.
func lied(host, reference string) error {
	return fail(cache.ErrMismatch, "registry %s sent bytes for %s that are not what their digest says; try another registry with --mirror", host, reference)
}

// root is the innermost text: "connection refused" rather than the request around it.
func root(err error) string {
	var opError *net.OpError
	if errors.As(err, &opError) {
		return opError.Err.Error()
	}
	var urlError *url.Error
	if errors.As(err, &urlError) {
		return urlError.Err.Error()
	}
	return err.Error()
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
