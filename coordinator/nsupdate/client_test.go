package nsupdate

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kiln-farm/kiln/internal/dnstest"
)

func update() *dns.Msg {
	m := (&dns.Msg{}).SetUpdate("lab.example.")
	rr, _ := dns.NewRR("a.lab.example. 60 IN A 10.0.0.1")
	m.Insert([]dns.RR{rr})
	return m
}

func TestUpdatesAreSignedAndAnswersChecked(t *testing.T) {
	good, bad := &Key{dns.Fqdn(dnstest.Key), dns.HmacSHA256, secret}, &Key{dns.Fqdn(dnstest.Key), dns.HmacSHA256, "d3Jvbmc="}
	s := dnstest.New(t, secret, nil, "lab.example")
	c := NewConn(s.Address)
	defer c.Close()
	for range 3 { // over one connection
		if answer, err := c.Do(t.Context(), update(), good); err != nil || answer.Rcode != dns.RcodeSuccess {
			t.Fatalf("%v, %v", answer, err)
		}
	}
	if answer, err := c.Do(t.Context(), update(), bad); err != nil || answer.Rcode != dns.RcodeRefused {
		t.Errorf("the wrong key: %v, %v", answer, err)
	}
	unsigned := dnstest.New(t, "", nil, "lab.example")
	o := NewConn(unsigned.Address)
	defer o.Close()
	if _, err := o.Do(t.Context(), update(), good); !errors.Is(err, ErrUnsigned) {
		t.Errorf("an answer that is not signed: %v", err)
	}
	if answer, err := o.Do(t.Context(), update(), nil); err != nil || answer.Rcode != dns.RcodeSuccess {
		t.Errorf("without a key: %v, %v", answer, err)
	}
}

func TestAConnectionThatEndedIsMadeAnew(t *testing.T) {
	var lose atomic.Bool
	s := dnstest.New(t, "", func() dnstest.Fault {
		if lose.Swap(false) {
			return dnstest.Lost
		}
		return dnstest.None
	}, "lab.example")
	c := NewConn(s.Address)
	defer c.Close()
	lose.Store(true)
	if _, err := c.Do(t.Context(), update(), nil); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("the first message was lost: %v", err)
	}
	if _, err := c.Do(t.Context(), update(), nil); err != nil {
		t.Error(err)
	}
	lose.Store(true)
	if _, err := c.Do(t.Context(), update(), nil); err != nil {
		t.Errorf("the connection was idle: %v", err)
	}
}

func TestAServerThatIsAwayTakesNoLongTime(t *testing.T) {
	c := NewConn("127.0.0.1:1")
	if _, err := c.Do(t.Context(), update(), nil); err == nil || !strings.Contains(err.Error(), "connect: ") {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	hold := make(chan struct{})
	mute := dnstest.New(t, "", func() dnstest.Fault { <-hold; return dnstest.None }, "lab.example")
	begun := time.Now()
	if _, err := NewConn(mute.Address).Do(ctx, update(), nil); err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("nobody answers: %v after %s", err, time.Since(begun))
	}
	close(hold)
}
