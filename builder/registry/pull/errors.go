package pull

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// StatusError is an answer that is not what was asked for.
type StatusError struct {
	Host   string
	Status int
	Asked  time.Duration    // how long it asks to wait; 0 when it does not
	Answer *transport.Error // what it says, for people and by code
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s answers %s", e.Host, e.Text()) }
func (e *StatusError) Unwrap() error { return e.Answer }

// Text is the status and what the registry says about it, in one line.
func (e *StatusError) Text() string {
	text := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	for _, d := range e.Answer.Errors {
		text += fmt.Sprintf(" (%.100s: %.300s)", oneLine(string(d.Code)), oneLine(d.Message))
		break
	}
	return strings.TrimSpace(text)
}

// Denied says that the registry wants another login, or that none helps.
func (e *StatusError) Denied() bool {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return true
	}
	for _, d := range e.Answer.Errors { // as Amazon's public registry has it, with 400
		if d.Code == transport.DeniedErrorCode || d.Code == transport.UnauthorizedErrorCode {
			return e.Status >= 400 && e.Status < 500
		}
	}
	return false
}

// oneLine keeps a registry's text from looking like several of ours.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// statusError makes an error of an answer, and closes it.
func statusError(res *http.Response, now time.Time) error {
	defer res.Body.Close()
	e := &StatusError{Host: res.Request.URL.Host, Status: res.StatusCode, Asked: asks(res, now), Answer: &transport.Error{StatusCode: res.StatusCode}}
	var answer *transport.Error
	if err := transport.CheckError(res); errors.As(err, &answer) {
		e.Answer = answer
	}
	return e
}

// TokenError is a token service that gave none.
type TokenError struct {
	Service string // its host
	Err     error
}

func (e *TokenError) Error() string { return fmt.Sprintf("token service %s: %v", e.Service, e.Err) }
func (e *TokenError) Unwrap() error { return e.Err }

// LoginError is a fault of where the logins are kept.
type LoginError struct{ Err error }

func (e *LoginError) Error() string { return e.Err.Error() }
func (e *LoginError) Unwrap() error { return e.Err }

// PolicyError is something that a registry wants of its client and that is not done.
type PolicyError struct{ Text string }

func (e *PolicyError) Error() string { return e.Text }

// WriteError is a fault of where a blob is written to, not of the registry.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }
func (e *WriteError) Unwrap() error { return e.Err }

// ErrTooLong: a registry sent more bytes than the manifest says, or than are allowed.
var ErrTooLong = errors.New("more bytes than were expected")

// Passing says whether another try may end otherwise.
func Passing(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return true
		}
		return status.Status >= 500
	}
	return Unreachable(err)
}

// Unreachable says that the trouble is between us and the registry: it cannot be reached, or does not go on.
func Unreachable(err error) bool {
	var login *LoginError
	var policy *PolicyError
	var certificate *CertificateError
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &login) || errors.As(err, &policy) || errors.As(err, &certificate) || errors.As(err, &untrusted) {
		return false
	}
	var stall *StallError
	var network net.Error
	var operation *net.OpError
	var request *url.Error
	return errors.As(err, &stall) || errors.As(err, &network) || errors.As(err, &operation) || errors.As(err, &request) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}
