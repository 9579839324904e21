package e2e

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/lab"
)

// deathLimit is for a boot in which something dies. A quiet machine needs 15 to 40 s.
const deathLimit = 5 * time.Minute

// marker is what a machine says that has read its configuration.
const marker = "KILN-CONFIGURED demo-machine"

// moment is a moment of a boot, as it shows on the machine's cable. It is made anew for each boot: some count.
type moment func(edge netip.Addr) func(lab.Packet) bool

// DHCP's numbers (RFC 2131, RFC 2132).
const (
	fromServer  = 67
	fromClient  = 68
	dhcpOptions = 240 // where they begin in a packet
	dhcpOffer   = 2
	dhcpAck     = 5
)

// message is the type of a DHCP message, 0 when there is none.
func message(payload []byte) byte {
	for b := payload[min(dhcpOptions, len(payload)):]; len(b) >= 3 && b[0] != 255; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if b[0] == 53 {
			return b[2]
		}
		b = b[min(2+int(b[1]), len(b)):]
	}
	return 0
}

// told is when the edge has sent a DHCP message of a type.
func told(kind byte) moment {
	return func(edge netip.Addr) func(lab.Packet) bool {
		return func(p lab.Packet) bool {
			return p.ToMachine && !p.TCP && p.From == netip.AddrPortFrom(edge, fromServer) && message(p.Payload) == kind
		}
	}
}

// asks is when the machine asks the edge for a path that begins so, for the n'th time.
func asks(path string, n int) moment {
	return func(edge netip.Addr) func(lab.Packet) bool {
		seen := 0
		return func(p lab.Packet) bool {
			if !p.ToMachine && p.TCP && p.To == netip.AddrPortFrom(edge, edgePort) && bytes.HasPrefix(p.Payload, []byte("GET "+path)) {
				seen++
			}
			return seen >= n
		}
	}
}

// amid is when the machine has got so many bytes of what it asked for.
func amid(asked moment, most int) moment {
	return func(edge netip.Addr) func(lab.Packet) bool {
		begun, got := asked(edge), 0
		yes := false
		return func(p lab.Packet) bool {
			if !yes {
				yes = begun(p)
			} else if p.ToMachine && p.TCP && p.From == netip.AddrPortFrom(edge, edgePort) {
				got += len(p.Payload)
			}
			return got >= most
		}
	}
}

// system is when the machine's operating system asks for its address: the kernel and all else is loaded.
func system(netip.Addr) func(lab.Packet) bool {
	return func(p lab.Packet) bool {
		return !p.ToMachine && !p.TCP && p.To.Port() == fromServer && !bytes.Contains(p.Payload, []byte("PXEClient"))
	}
}

// mid is how much of a file has come when its edge dies, in bytes: more than any header, less than any file.
const mid = 1 << 20

// deaths are moments of a boot at which the edge that serves it dies. From the script on, the same boot goes on.
var deaths = []struct {
	name string
	when moment
	same bool
}{
	{"after its offer", told(dhcpOffer), false},
	{"after its acknowledgement", told(dhcpAck), false},
	{"when it is asked for the script", asks("/boot.ipxe", 1), false},
	{"when the script was served", asks("/files/", 1), true},
	{"in the middle of the kernel", amid(asks("/files/", 1), mid), true},
	{"in the middle of the initrd", amid(asks("/files/", 2), mid), true},
	{"when the operating system starts", system, true},
	{"when it is asked for the configuration", asks("/m/", 1), true},
}

// watch does something once, at a moment of a boot, and counts what the machine asked for.
type watch struct {
	is  func(lab.Packet) bool
	act func()

	mu      sync.Mutex // guards what follows
	done    time.Time
	scripts int                // that the machine asked for
	served  map[netip.Addr]int // requests by edge
}

func (w *watch) see(p lab.Packet) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.ToMachine && p.TCP && bytes.HasPrefix(p.Payload, []byte("GET ")) {
		w.served[p.To.Addr()]++
		if bytes.HasPrefix(p.Payload, []byte("GET /boot.ipxe")) {
			w.scripts++
		}
	}
	if w.done.IsZero() && w.is(p) {
		w.done = time.Now()
		w.act()
	}
	return true
}

func newWatch(is func(lab.Packet) bool, act func()) *watch {
	return &watch{is: is, act: act, served: map[netip.Addr]int{}}
}

// TestABootSurvivesTheDeathOfItsEdge is the quick one of the deaths.
func TestABootSurvivesTheDeathOfItsEdge(t *testing.T) {
	p := newPair(t, 0)
	needFirmware(t, "amd64")
	p.local(t)
	p.bootsThrough(t, "in the middle of the initrd")
	eventually(t, "the farm knows what the machine read at the other edge", func() bool {
		return strings.Contains(p.with(t, "machine", "boots", "demo-machine"), "/latest/user-data")
	})
}

// TestEdgesDieAtEachStageOfABoot: kill -9, and the same machine comes up without anybody's hand.
func TestEdgesDieAtEachStageOfABoot(t *testing.T) {
	full(t)
	p := newPair(t, 1)
	needFirmware(t, "amd64")
	p.inFarm(t)
	t.Run("nobody dies", func(t *testing.T) {
		m := p.power(t, retryingBIOS(), nil)
		t.Logf("%.1f s", m.until(marker, bootLimit).Sub(m.begun).Seconds())
		m.off()
	})
	for _, d := range deaths {
		t.Run(d.name, func(t *testing.T) { p.bootsThrough(t, d.name) })
	}
}

// bootsThrough boots a machine whose edge dies at the moment of that name.
func (p *pair) bootsThrough(t *testing.T, name string) {
	t.Helper()
	for _, d := range deaths {
		if d.name == name {
			p.survives(t, d.when, d.same, p.first.Kill, retryingBIOS())
			return
		}
	}
	t.Fatalf("there is no moment called %q", name)
}

// survives boots a machine, and something happens to its edge at a moment; the machine comes up, in the same boot if it must.
func (p *pair) survives(t *testing.T, when moment, same bool, happens func() error, machine []string) {
	t.Helper()
	p.again(t)
	w := newWatch(when(p.firstIP), func() {
		if err := happens(); err != nil {
			t.Error(err)
		}
	})
	m := p.power(t, machine, w.see)
	up := m.until(marker, deathLimit)
	m.off()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done.IsZero() {
		t.Fatal("the moment did not come")
	}
	t.Logf("it happened after %.1f s, and the machine was up %.1f s later, with %d scripts", w.done.Sub(m.begun).Seconds(), up.Sub(w.done).Seconds(), w.scripts)
	if same && w.scripts != 1 {
		t.Errorf("the machine asked for %d scripts: it has begun anew, and the same boot was to go on", w.scripts)
	}
	if w.served[p.secondIP] == 0 {
		t.Errorf("the other edge served nothing")
	}
}

// inFarm has the farm build the machine's image, and describes it.
func (p *pair) inFarm(t *testing.T) {
	t.Helper()
	// The farm's builders take images from its shared cache.
	for _, env := range append(p.server.Env(), "KILN_STORE="+p.server.URL("room", "")) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	if _, err := p.run(t.Context(), p.root+"/examples/images/build.sh", "amd64"); err != nil {
		t.Fatal(err)
	}
	p.with(t, "build", "--progress", "plain", "--dir", t.TempDir(), "--arch", "amd64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo", "examples/machine.yml")
	p.intend(t, t.TempDir(), "{name: demo, build: machine}")
}
