package httpboot

import (
	"net/netip"
	"testing"

	"github.com/kiln-farm/kiln/edge/syslog"
)

func TestWhatMachinesLogIsInTheirTimelines(t *testing.T) {
	r := newRoomOf(t)
	r.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21")
	boot := r.Happened()[0].GetBoot()
	line := syslog.Parse([]byte("<11>modprobe: no such module"))
	for _, c := range []struct {
		from    string
		dropped int
		want    string // empty: nothing
	}{
		{"10.0.0.21", 0, "error: modprobe: no such module"},
		{"10.0.0.21", 3, "(3 lines came too fast and are lost) error: modprobe: no such module"},
		{"10.0.0.99", 0, ""},
	} {
		r.Logged(netip.MustParseAddr(c.from), line, c.dropped)
		got := r.Happened()
		if c.want == "" {
			if len(got) > 0 {
				t.Errorf("a line from a stranger: %v", got)
			}
			continue
		}
		if len(got) != 1 || got[0].GetDetail() != c.want || got[0].GetMachine() != "web" || got[0].GetBoot() != boot {
			t.Errorf("got %v, want %q of web in boot %s", got, c.want, boot)
		}
	}
}
