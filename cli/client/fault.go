package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/internal/pki"
)

// APIError is what the farm said to a call that it refused.
type APIError struct {
	What string
	Code connect.Code
	Text string
}

func (e *APIError) Error() string { return e.Text }

// explain makes a sentence of what an API call said.
func (f *Farm) explain(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: the connection to the farm at %s broke and did not come back: %w", what, f.where, ErrUnreachable)
	}
	if fault := f.credentials(err); fault != nil {
		return fault
	}
	if !answered(err) {
		program := "kiln server"
		if f.secure {
			program = "kiln coordinator"
		}
		said := cause(err)
		if !f.secure && said == "400 Bad Request" { // what a port for TLS says to a request without (net/http)
			return fmt.Errorf("%w at %s: what answers there wants TLS; write https:// if it is kiln coordinator", ErrUnreachable, f.where)
		}
		return fmt.Errorf("%w at %s (%s): is %s running there?", ErrUnreachable, f.where, said, program)
	}
	return &APIError{What: what, Code: connect.CodeOf(err), Text: text(err)}
}

// credentials is a sentence about certificates that do not fit, or nil. With TLS 1.3 the server's word on the client's
// comes after the handshake.
func (f *Farm) credentials(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return fmt.Errorf("%w at %s: what answers there does not speak TLS; leave the s of https out if it is kiln server", ErrUnreachable, f.where)
	}
	var handshake *handshakeError
	var alert tls.AlertError
	switch {
	case errors.As(err, &handshake) && handshake.stranger() && f.stranger != "":
		return fmt.Errorf("%w: %s", ErrCredentials, f.stranger)
	case errors.As(err, &handshake) && handshake.stranger():
		return fmt.Errorf("%w: %s: %s", ErrCredentials, f.where, firstLine(pki.Explain(handshake.err).Error()))
	case errors.As(err, &alert):
		return fmt.Errorf("%w: %s: %s", ErrCredentials, f.where, firstLine(pki.Explain(err).Error()))
	}
	return nil
}

// handshakeError is a connection on which TLS did not come about.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// stranger says that one side did not accept the other, rather than that the connection broke.
func (e *handshakeError) stranger() bool {
	var network net.Error
	var alert tls.AlertError
	if errors.As(e.err, &alert) {
		return true
	}
	return !errors.As(e.err, &network) && !errors.Is(e.err, io.EOF) && !errors.Is(e.err, io.ErrUnexpectedEOF) &&
		!errors.Is(e.err, context.DeadlineExceeded) && !errors.Is(e.err, context.Canceled)
}

// answered says that there was a farm on the other side.
func answered(err error) bool {
	var ce *connect.Error
	return errors.As(err, &ce) && connect.IsWireError(ce)
}

// again says that the same call may go well later: there is no leader now, the connection broke, or none was made in
// time. A connection that was reset counts as a canceled call to connect (v1.21.1, isClientDisconnected), and a leader that
// stops leading cancels what it was doing. Whoever called has an end of its own for how often.
func again(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeUnknown, connect.CodeInternal, connect.CodeCanceled:
		return true
	case connect.CodeDeadlineExceeded:
		return !answered(err)
	}
	return false
}

func text(err error) string {
	var ce *connect.Error
	if errors.As(err, &ce) {
		return ce.Message()
	}
	return err.Error()
}

// cause is the end of the chain of errors, which names no URL twice.
func cause(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err.Error()
	}
	return text(err)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// ErrUnreachable: nobody answers where the farm should be.
var ErrUnreachable = errors.New("the farm cannot be reached")

// ErrCredentials: the farm and the client's certificate do not fit.
var ErrCredentials = errors.New("the credentials do not fit")
