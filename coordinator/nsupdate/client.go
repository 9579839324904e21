package nsupdate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

const (
	dialTime   = 2 * time.Second
	answerTime = 4 * time.Second
	fudge      = 300 // seconds that clocks may differ (RFC 8945 §10)
)

// Signature is an answer that says what is wrong with a message's signature.
type Signature struct{ Code uint16 }

// Error implements error.
func (s Signature) Error() string { return dns.RcodeToString[int(s.Code)] }

// ErrUnsigned: the answer should be signed, and is not.
var ErrUnsigned = errors.New("its answer is not signed: something between may have made it")

// Conn is a connection to a server, made when it is needed and anew when it broke. It is for one goroutine.
type Conn struct {
	server string
	conn   net.Conn
}

// NewConn is a connection to "10.0.0.53:53"; nothing is sent yet.
func NewConn(server string) *Conn { return &Conn{server: server} }

// Close ends the connection.
func (c *Conn) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// Do sends an update, signed by the key unless that is nil, and returns the answer. An idle connection that the server has ended is
// made anew, so that a message may come twice.
func (c *Conn) Do(ctx context.Context, m *dns.Msg, key *Key) (*dns.Msg, error) {
	idle := c.conn != nil
	answer, err := c.once(ctx, m, key)
	var signature Signature
	if err != nil && idle && ctx.Err() == nil && !errors.As(err, &signature) && !errors.Is(err, ErrUnsigned) {
		answer, err = c.once(ctx, m, key)
	}
	return answer, err
}

func (c *Conn) once(ctx context.Context, m *dns.Msg, key *Key) (answer *dns.Msg, err error) {
	if c.conn == nil {
		dialer := net.Dialer{Timeout: dialTime}
		if c.conn, err = dialer.DialContext(ctx, "tcp", c.server); err != nil {
			c.conn = nil
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	conn := &dns.Conn{Conn: c.conn} // one for each message: it would sign the next as the answer to this one
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	out := m.Copy()
	out.Id = dns.Id()
	if key != nil {
		conn.TsigSecret = map[string]string{key.name: key.secret}
		out.SetTsig(key.name, key.algorithm, fudge, time.Now().Unix())
	}
	if err := conn.WriteMsg(out); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	answer, err = conn.ReadMsg()
	if answer == nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if answer.Id != out.Id || !answer.Response {
		return nil, errors.New("the answer is to something else")
	}
	if key == nil {
		return answer, err
	}
	switch sign := answer.IsTsig(); {
	case sign != nil && sign.Error != dns.RcodeSuccess:
		return nil, Signature{sign.Error}
	case sign == nil && answer.Rcode == dns.RcodeSuccess:
		return nil, ErrUnsigned
	case sign == nil, errors.Is(err, dns.ErrAuth): // some servers refuse before they look at the signature; NOTAUTH the library does not verify
		return answer, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the signature of the answer is wrong: %w", err)
	}
	return answer, nil
}
