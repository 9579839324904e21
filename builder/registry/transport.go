package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
)

const (
	tries      = 4
	retryFirst = 200 * time.Millisecond
	dialWait   = 10 * time.Second
	headerWait = 30 * time.Second
	certsDir   = "/etc/docker/certs.d"
)

// retries is what go-containerregistry does with a request by itself: one more try. We count the rest.
var retries = remote.Backoff{Duration: retryFirst, Factor: 2, Jitter: 0.2, Steps: 2}

// newTransport is a transport with the proxies of the environment and the authorities that docker has for the host.
func newTransport(host string) (http.RoundTripper, error) {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = http.ProxyFromEnvironment
	t.DialContext = (&net.Dialer{Timeout: dialWait}).DialContext
	t.ResponseHeaderTimeout = headerWait
	files, err := filepath.Glob(filepath.Join(certsDir, filepath.Base(host), "*.crt"))
	if err != nil || len(files) == 0 {
		return t, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, step.Failf("certificate %s cannot be read: %w", file, err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, step.Failf("certificate %s is not in PEM form", file)
		}
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// retry repeats what a moment may mend, with growing pauses. A host that cannot be reached after that is most
// likely no host: the leader would only have it all repeated, and the user wait for the same sentence.
func retry(ctx context.Context, f func() error) error {
	wait := retryFirst
	for n := 1; ; n++ {
		err := f()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		if n == tries {
			var p *problem
			if errors.As(err, &p) && p.unreachable {
				return &step.Failure{Err: err}
			}
			return err
		}
		timer := time.NewTimer(wait + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		wait *= 2
	}
}

// problem is a fault of a registry with a sentence for people; temporary when another try may help.
type problem struct {
	sentence    string
	temporary   bool
	unreachable bool
	err         error
}

func (p *problem) Error() string { return p.sentence }
func (p *problem) Unwrap() error { return p.err }

func passing(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.temporary
}

// explain makes a sentence of what go-containerregistry returned.
func explain(err error, host, reference string) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch {
		case answer.StatusCode == http.StatusNotFound:
			return fail(err, "image %s is not in registry %s; check its name and tag", reference, host)
		case denied(err):
			return fail(err, "registry %s does not let you read %s; check its name, or log in with `docker login %s`", host, reference, host)
		case answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500:
			return &problem{fmt.Sprintf("registry %s answers %d for %s; try again later, or name another with --mirror", host, answer.StatusCode, reference), true, false, err}
		}
		return fail(err, "registry %s answers %d for %s: %s", host, answer.StatusCode, reference, firstLine(answer.Error()))
	}
	text := err.Error() // of a layer and of a manifest
	if errors.Is(err, cache.ErrMismatch) || strings.Contains(text, "error verifying") || strings.Contains(text, "does not match requested digest") {
		return fail(err, "registry %s sent bytes for %s that are not what their digest says; try another registry with --mirror", host, reference)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	// A dial that times out is context.DeadlineExceeded too (package net), so that alone says nothing about ctx.
	var netError net.Error
	var opError *net.OpError
	var urlError *url.Error
	if errors.As(err, &netError) || errors.As(err, &opError) || errors.As(err, &urlError) || strings.Contains(err.Error(), "EOF") {
		return &problem{fmt.Sprintf("registry %s cannot be reached for %s: %s; check the name and the network, or name a mirror with --mirror", host, reference, firstLine(root(err))), true, true, err}
	}
	return fail(err, "image %s cannot be read from registry %s: %s", reference, host, firstLine(err.Error()))
}

// denied says that the registry wants another login, or none helps.
func denied(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden)
}

func lied(err error, host string, want cache.Digest, reference string) error {
	if !errors.Is(err, cache.ErrMismatch) {
		return err
	}
	return fail(err, "registry %s sent bytes for %s that are not %s; try another registry with --mirror", host, reference, want)
}

func fail(err error, format string, args ...any) error {
	return &step.Failure{Err: &problem{sentence: fmt.Sprintf(format, args...), err: err}}
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
