package httpboot

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
)

// An address that another server gave says nothing of itself: a machine is known by what answers for the address.
func TestNobodyIsBesideWhoDidNotBoot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("which MAC answers for an address is known on Linux only, and this is %s", runtime.GOOS)
	}
	r := newRoomOf(t)
	for _, a := range []string{"192.0.2.1", "127.0.0.1", "::1"} {
		if b, ok := r.Seen.Bound(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is bound to %+v", a, b)
		}
	}
	if w := r.Get("/latest/meta-data/hostname", "192.0.2.1"); w.Code != 403 {
		t.Errorf("a stranger is answered with %d", w.Code)
	}
	// What is known of an address that the edge did not give is never enough for secrets.
	r.Seen.Boots(known, time.Now().Add(intent.BootTime))
	if config.Seen(r.Seen.Given, netip.MustParseAddr("192.0.2.1"), []string{known}) {
		t.Error("an address counts as given that was not")
	}
}
