package pull

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// patience repeats a request as late as the registry asks for (RFC 9110 §10.2.3, RFC 6585 §4), and tells whoever waits.
// An answer that asks for more than there is patience for is passed on.
type patience struct {
	next http.RoundTripper
	cfg  *Config
}

// maxDrain is how much of an answer that nobody wants is read, in bytes, so that its connection may be used again.
const maxDrain = 64 << 10

// RoundTrip implements http.RoundTripper.
func (p *patience) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		res, err := p.next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		asked := asks(res, p.cfg.Now())
		v := visitOf(req.Context())
		if asked <= 0 || req.Body != nil && req.GetBody == nil || !v.take(asked, p.cfg.Patience) {
			return res, nil
		}
		discard(res)
		v.tell(fmt.Sprintf("waiting %s for registry %s, which asked for it (%d %s); Kiln waits %s in all",
			seconds(asked), req.URL.Host, res.StatusCode, http.StatusText(res.StatusCode), seconds(p.cfg.Patience)))
		if !p.cfg.Sleep(req.Context(), asked) {
			return nil, req.Context().Err()
		}
		if req, err = again(req); err != nil {
			return nil, err
		}
	}
}

// again is a request once more, with its body.
func again(req *http.Request) (*http.Request, error) {
	req = req.Clone(req.Context())
	if req.Body == nil {
		return req, nil
	}
	body, err := req.GetBody()
	req.Body = body
	return req, err
}

func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain)
	_ = res.Body.Close()
}

// asks is how long an answer asks to wait; 0 when it does not.
func asks(res *http.Response, now time.Time) time.Duration {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode < 500 {
		return 0
	}
	return retryAfter(res.Header, now)
}

// maxAsked is more than anybody waits, and no overflow.
const maxAsked = 366 * 24 * time.Hour

// retryAfter reads Retry-After, seconds or a date (RFC 9110 §10.2.3); 0 when it is neither, or past. A date is taken by the clock
// of who sent it, where that is told.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value != "" && strings.Trim(value, "0123456789") == "" {
		var n time.Duration
		for _, digit := range value {
			if n = n*10 + time.Duration(digit-'0'); n > maxAsked/time.Second {
				return maxAsked
			}
		}
		return n * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return min(max(at.Sub(now), 0), maxAsked)
}

// seconds is a duration as people write it beside a registry's own number.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", (d+time.Second-1)/time.Second)
}
