package pool

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/replica"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// described is a pool of one address, and a machine without a fixed one.
func described() *kilnv1.RoomCommand {
	in := one()
	in.Machines = []*kilnv1.Machine{{Name: "m", Macs: []string{pcMAC}}}
	return in
}

func TestAMachineThatIsDescribedBootsWithWhatItHasWithoutTheFarm(t *testing.T) {
	has := []turn{
		{name: "DISCOVER", in: packet{message: discover, xid: 1}, want: "10.1.0.10/24 for 1h0m0s"},
		{name: "REQUEST", in: packet{message: request, xid: 1, asked: ten, server: us}, want: "bound 10.1.0.10/24 for 1h0m0s"},
	}
	then := func(more ...turn) []turn { return append(append([]turn{}, has...), more...) }
	for _, c := range []struct {
		name  string
		turns []turn
	}{
		{"firmware, boot program and system", then(
			turn{name: "firmware", after: 20 * time.Minute, do: away, in: packet{message: discover, class: "PXEClient", clientID: "\x00abc", xid: 2}, want: "10.1.0.10/24 for 10m0s"},
			turn{name: "its REQUEST, by which the edge notices that the farm is away", in: packet{message: request, class: "PXEClient", xid: 2, asked: ten, server: us}, want: "bound 10.1.0.10/24 for 10m0s"},
			turn{name: "the boot program", after: 10 * time.Second, in: packet{message: discover, class: "PXEClient", xid: 3}, want: "10.1.0.10/24 for 10m0s"},
			turn{name: "its REQUEST", in: packet{message: request, class: "PXEClient", xid: 3, asked: ten, server: us}, want: "bound 10.1.0.10/24 for 10m0s"},
			turn{name: "the system gets what remains", after: 10 * time.Second, in: packet{message: discover, xid: 4}, want: "10.1.0.10/24 for 42m"},
			turn{name: "its REQUEST", in: packet{message: request, xid: 4, asked: ten, server: us}, want: "bound 10.1.0.10/24 for 42m"},
			turn{name: "nobody else gets it", in: packet{message: discover, mac: otherMAC, xid: 5}, want: "silent"},
			turn{name: "nor takes it", in: packet{message: request, mac: otherMAC, xid: 5, asked: ten, server: us}, want: "silent"},
			turn{name: "too little remains to boot", after: 42 * time.Minute, in: packet{message: discover, xid: 6}, want: "silent: the farm is away"},
		)},
		{"it gives its address back and boots again", then(
			turn{name: "the farm goes away", after: time.Minute, do: away, in: packet{message: request, xid: 2, ciaddr: ten, to: us}, want: "bound 10.1.0.10/24 for 1h0m0s"},
			turn{name: "RELEASE", after: time.Minute, in: packet{message: release, xid: 3, ciaddr: ten, server: us}, want: "silent"},
			turn{name: "firmware", after: time.Minute, in: packet{message: discover, class: "PXEClient", xid: 4}, want: "10.1.0.10/24 for 10m0s"},
			turn{name: "its REQUEST", in: packet{message: request, class: "PXEClient", xid: 4, asked: ten, server: us}, want: "bound 10.1.0.10/24 for 10m0s"},
			turn{name: "the farm is back", after: time.Second, do: back, in: packet{message: request, xid: 5, asked: ten}, want: "bound 10.1.0.10/24 for 1h0m0s"},
		)},
		{"it has given its address back", then(
			turn{name: "RELEASE", after: time.Minute, in: packet{message: release, xid: 2, ciaddr: ten, server: us}, want: "silent: the address is given back"},
			turn{name: "it is kept", after: time.Minute, in: packet{message: discover, mac: otherMAC, xid: 3}, want: "silent: there is no free address"},
			turn{name: "until its time is over", after: time.Hour + 2*time.Minute, in: packet{message: discover, mac: otherMAC, xid: 4}, want: "10.1.0.10/24"},
		)},
		{"it has declined its address: it has none", then(
			turn{name: "DECLINE", after: time.Minute, in: packet{message: decline, xid: 2, asked: ten, server: us}, want: "silent"},
			turn{name: "the farm goes away", do: away, in: packet{message: request, mac: otherMAC, xid: 3, asked: ten}, want: "silent: the farm is away"},
			turn{name: "DISCOVER", in: packet{message: discover, xid: 4}, want: "silent"},
		)},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, described(), c.turns) })
	}
}

func TestAnEdgeThatHeardOfNothingOffersWhatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, described())
		cut, other := newEdge(t, f, "edge1"), newEdge(t, f, "edge2")
		cut.ask(t, packet{message: discover, xid: 1})
		cut.ask(t, packet{message: request, xid: 1, asked: ten, server: us})
		f.cut(false, cut.Pool)
		time.Sleep(time.Minute)
		other.ask(t, packet{message: release, xid: 2, ciaddr: ten, server: us}) // of which the first edge does not hear
		if got := other.ask(t, packet{message: discover, mac: otherMAC, xid: 3}); !strings.HasPrefix(got, "silent") {
			t.Errorf("another machine: got %s", got)
		}
		for _, c := range []struct {
			in   packet
			want string
		}{
			{packet{message: request, mac: otherMAC, xid: 4, asked: ten}, "silent: the farm is away"},
			{packet{message: discover, xid: 5}, "10.1.0.10/24 for 1h0m"},
			{packet{message: request, xid: 5, asked: ten, server: us}, "bound 10.1.0.10/24 for 1h0m"},
		} {
			if got := cut.ask(t, c.in); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: got %s, want %s", c.in.message, got, c.want)
			}
		}
		cut.end()
		other.end()
	})
}

func TestWhatIsKeptOutlivesARestart(t *testing.T) {
	if bootID() == "" {
		t.Skip("SKIPPED: this host does not tell its boots apart")
	}
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, described())
		time.Sleep(time.Hour)
		file := filepath.Join(t.TempDir(), "bindings")
		e := newEdge(t, f, "edge1", func(cfg *Config) { cfg.File = file })
		e.ask(t, packet{message: discover, xid: 1})
		e.ask(t, packet{message: request, xid: 1, asked: ten, server: us})
		f.cut(false, e.Pool)
		time.Sleep(10 * time.Minute)
		e.ask(t, packet{message: release, xid: 2, ciaddr: ten, server: us})
		e.end() // it writes what it knows
		again := newEdge(t, f, "edge1", func(cfg *Config) { cfg.File = file })
		f.cut(false, again.Pool)
		again.Pool.replica = replica.New() // of what the farm told at the start
		again.load()
		again.ask(t, packet{message: request, mac: otherMAC, xid: 3, asked: ten})
		if got := again.ask(t, packet{message: discover, xid: 4}); !strings.HasPrefix(got, "10.1.0.10/24 for 52m") {
			t.Errorf("got %s", got)
		}
		again.end()
	})
}
