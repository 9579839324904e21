package pxe

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestDecisions(t *testing.T) {
	web := &fleet.Boot{Machine: &kilnv1.Machine{Name: "web"}}
	nobody := errors.New("nobody described this machine")
	ten := netip.MustParseAddr("10.0.0.10")
	now, after, never := turn{answer: true}, turn{wait: time.Second, answer: true}, turn{}
	for _, c := range []struct {
		name    string
		message dhcpv4.MessageType
		f       facts
		want    action
		why     string
	}{
		{"nobody described it, and there are no pools", dhcpv4.MessageTypeDiscover, facts{err: nobody, turn: now}, silent, "nobody"},
		{"nobody described it, and another edge answers", dhcpv4.MessageTypeDiscover, facts{err: nobody, turn: never, pools: true}, silent, "nobody"},
		{"nobody described it, and another edge answers first", dhcpv4.MessageTypeDiscover, facts{err: nobody, turn: after, pools: true}, later, ""},
		{"nobody described it", dhcpv4.MessageTypeDiscover, facts{err: nobody, turn: now, pools: true}, fromPool, ""},
		{"another edge answers", dhcpv4.MessageTypeDiscover, facts{boot: web, turn: never, address: ten, fits: true}, silent, ""},
		{"another edge answers first", dhcpv4.MessageTypeDiscover, facts{boot: web, turn: after, address: ten, fits: true}, later, ""},
		{"a fixed address", dhcpv4.MessageTypeDiscover, facts{boot: web, turn: now, address: ten, fits: true, pools: true}, fixed, ""},
		{"a REQUEST of a fixed address is answered by every edge", dhcpv4.MessageTypeRequest, facts{boot: web, turn: never, address: ten, fits: true, pools: true}, fixed, ""},
		{"a REQUEST of a pool's address is not", dhcpv4.MessageTypeRequest, facts{boot: web, turn: never, pools: true}, noLease, ""},
		{"a fixed address of another network", dhcpv4.MessageTypeDiscover, facts{boot: web, turn: now, address: ten, pools: true}, fromPool, ""},
		{"a fixed address that another has", dhcpv4.MessageTypeDiscover, facts{boot: web, turn: now, address: ten, fits: true, holder: "mac x", pools: true}, fromPool, "10.0.0.10 is still bound to mac x"},
		{"the same where it asks for a file only", dhcpv4.MessageTypeRequest, facts{boot: web, turn: now, address: ten, fits: true, holder: "mac x"}, noLease, "is still bound"},
		{"no address", dhcpv4.MessageTypeDiscover, facts{boot: web, turn: now}, noLease, ""},
	} {
		got := decide(dhcp.Client{Message: c.message}, c.f)
		if got.do != c.want || !strings.Contains(got.why, c.why) || c.why == "" && got.why != "" {
			t.Errorf("%s: got %s %q, want %s %q", c.name, got.do, got.why, c.want, c.why)
		}
	}
}

func TestDecisionsOverIPv6(t *testing.T) {
	web := &fleet.Boot{Machine: &kilnv1.Machine{Name: "web", Address6: "fd01::10/64"}}
	bare := &fleet.Boot{Machine: &kilnv1.Machine{Name: "bare"}}
	nobody, none := errors.New("nobody described this machine"), errors.New("no address")
	ten := netip.MustParsePrefix("fd01::10/64")
	near := dhcp6.Client{Message: dhcpv6.MessageTypeSolicit}
	far := dhcp6.Client{Message: dhcpv6.MessageTypeSolicit, Relayed: true, Link: netip.MustParseAddr("fd02::1")}
	wants := dhcp6.Client{Message: dhcpv6.MessageTypeInformationRequest}
	firmware := dhcp6.Client{Message: dhcpv6.MessageTypeSolicit, Kind: dhcp.UEFI}
	now := turn{answer: true}
	for _, c := range []struct {
		name string
		c    dhcp6.Client
		f    facts6
		want action
		why  string
	}{
		{"nobody described it, and another edge answers", near, facts6{err: nobody, pools: true}, silent, ""},
		{"nobody described firmware, and another edge answers", firmware, facts6{err: nobody, pools: true}, silent, "nobody"},
		{"nobody described it, and there are no pools", near, facts6{err: nobody, turn: now}, silent, "nobody"},
		{"nobody described it", near, facts6{err: nobody, turn: now, pools: true}, fromPool, ""},
		{"another edge answers", near, facts6{boot: web, full: true, address: ten}, silent, ""},
		{"options only", near, facts6{boot: web, turn: now}, noLease, ""},
		{"a fixed address", near, facts6{boot: web, turn: now, full: true, address: ten}, fixed, ""},
		{"a fixed address beside pools", near, facts6{boot: web, turn: now, full: true, pools: true, address: ten, fits: true}, fixed, ""},
		{"a fixed address of another network", near, facts6{boot: web, turn: now, full: true, pools: true, address: ten}, fromPool, ""},
		{"a fixed address that another has", near, facts6{boot: web, turn: now, full: true, pools: true, address: ten, fits: true, holder: "mac x"}, fromPool, "fd01::10 is still bound to mac x"},
		{"a fixed address of another link", far, facts6{boot: web, turn: now, full: true, address: ten}, noLease, "is not of the link of fd02::1"},
		{"no fixed address", near, facts6{boot: bare, turn: now, full: true, addressErr: none}, noLease, "give it an address6"},
		{"no fixed address, and it asks for none", wants, facts6{boot: bare, turn: now, full: true, addressErr: none}, noLease, ""},
		{"no fixed address beside pools", near, facts6{boot: bare, turn: now, full: true, pools: true, addressErr: none}, fromPool, ""},
	} {
		got := decide6(c.c, c.f)
		if got.do != c.want || !strings.Contains(got.why, c.why) || c.why == "" && got.why != "" {
			t.Errorf("%s: got %s %q, want %s %q", c.name, got.do, got.why, c.want, c.why)
		}
	}
}
