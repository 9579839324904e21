package dhcpsim

import (
	"math/rand/v2"
	"time"
)

// retransmission says when a client of DHCPv6 says something again (RFC 8415 §15). What ends it by time (MRD) is its user's to see.
type retransmission struct {
	first, most time.Duration // IRT; MRT
	times       int           // MRC; 0: without end

	sent int
	last time.Duration // RT
}

// Parameters of RFC 8415 §7.6, shortened as leases are.
var (
	solicits = retransmission{first: time.Second, most: longTimeout}
	requests = retransmission{first: time.Second, most: longTimeout, times: tries}
	confirms = retransmission{first: time.Second, most: 2 * time.Second, times: 3}
	renewals = retransmission{first: leastRetry, most: longTimeout} // RENEW until T2, REBIND until the address has no time left
	goodbyes = retransmission{first: time.Second, most: longTimeout, times: tries}
)

// next is the time until the message is sent again, or given up.
func (r *retransmission) next(random *rand.Rand) time.Duration {
	part := random.Float64()*0.2 - 0.1
	switch {
	case r.sent == 0 && r.times == 0 && part < 0:
		part = -part // a SOLICIT waits for at least IRT (§18.2.1)
		fallthrough
	case r.sent == 0:
		r.last = scaled(r.first, 1+part)
	default:
		r.last = scaled(r.last, 2+part)
	}
	if r.last > r.most {
		r.last = scaled(r.most, 1+part)
	}
	r.sent++
	return r.last
}

// over says that the message was sent as often as it may be.
func (r *retransmission) over() bool { return r.times > 0 && r.sent >= r.times }

func scaled(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
