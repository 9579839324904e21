package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/internal/lab"
)

// pair is a room with a farm: three coordinators, S3 and two edges, all of them processes that may die.
type pair struct {
	*world
	farm   *lab.Farm
	room   *lab.Room
	server *s3test.Server
	// The edges in the order in which they answer the machine, and their addresses in the room.
	first, second     *lab.Node
	firstIP, secondIP netip.Addr
}

const (
	edgePort     = 7380
	farmPatience = 2 * time.Minute
)

// newPair starts everything; it goes with the test. The room boots nothing yet.
func newPair(t *testing.T, builders int) *pair {
	t.Helper()
	p := &pair{world: prepared(t)}
	if err := lab.Able(); err != nil {
		t.Skip("no room and no farm can be made here:", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	network, err := lab.NewNetwork()
	must(err)
	t.Cleanup(func() { gone(t, network.Close()) })
	p.server, err = s3test.Start(t.TempDir(), network.Host+":0")
	must(err)
	t.Cleanup(p.server.Close)
	p.room, err = lab.NewRoom()
	must(err)
	t.Cleanup(func() { gone(t, p.room.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	p.farm, err = lab.New(ctx, lab.Options{
		Kiln: p.kiln, Dir: t.TempDir(), Name: "room", Coordinators: 3, Builders: builders, Edges: 2, Network: network,
		Store: p.server.URL("room", ""), Env: p.server.Env(),
	})
	must(err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range p.farm.Nodes() {
				t.Logf("the log of %s ends:\n%s", n.Name, n.Said())
			}
		}
		gone(t, p.farm.Close())
	})
	p.first, p.second = p.farm.Edges()[0], p.farm.Edges()[1]
	p.firstIP, p.secondIP = netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("10.77.0.3")
	for node, ip := range map[*lab.Node]netip.Addr{p.first: p.firstIP, p.second: p.secondIP} {
		name, err := p.room.Connect(node, ip.String()+"/24")
		must(err)
		node.Args = append(node.Args, "--interface", name, "--dhcp", "full")
	}
	mac, err := net.ParseMAC(machineMAC)
	must(err)
	if dhcp.Rank(mac, []string{edgeURL(p.firstIP), edgeURL(p.secondIP)}, edgeURL(p.firstIP)) != 0 {
		p.first, p.second, p.firstIP, p.secondIP = p.second, p.first, p.secondIP, p.firstIP
	}
	must(p.farm.Start(ctx))
	p.acquainted(t)
	return p
}

// gone reports what could not be taken away.
func gone(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func edgeURL(ip netip.Addr) string { return fmt.Sprintf("http://%s:%d", ip, edgePort) }

// roomSaid is what an edge logs when the edges of its room are others than before.
var roomSaid = regexp.MustCompile(`msg="the edges of this room[^"]*" edges="?\[([^\]]*)\]`)

// knows says whether an edge counts the other as one of its room.
func knows(node *lab.Node, other netip.Addr) bool {
	log, err := os.ReadFile(node.Log)
	if err != nil {
		return false
	}
	said := roomSaid.FindAllSubmatch(log, -1)
	return len(said) > 0 && slices.Contains(strings.Fields(string(said[len(said)-1][1])), edgeURL(other))
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(farmPatience); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in %s it was not so that %s", farmPatience, what)
		}
	}
}

// acquainted waits until both edges serve machines and know each other.
func (p *pair) acquainted(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	for _, e := range []*lab.Node{p.first, p.second} {
		if err := e.AwaitSaid(ctx, "machines boot here"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the edges know each other", func() bool { return knows(p.first, p.secondIP) && knows(p.second, p.firstIP) })
}

// again starts the first edge when it has died, and waits until all is as it was.
func (p *pair) again(t *testing.T) {
	t.Helper()
	if !p.first.Running() {
		eventually(t, "the farm misses the edge that died", func() bool { return !knows(p.second, p.firstIP) })
		if err := p.first.Start(); err != nil {
			t.Fatal(err)
		}
	}
	p.acquainted(t)
}

// with runs kiln with an administrator's credentials.
func (p *pair) with(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	out, err := p.run(ctx, p.kiln, append(args, "--farm", p.farm.URL(), "--credentials", p.farm.Admin)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// intend describes the example's machine, with the release demo as the text says, whose files are in dir, and waits
// until both edges have fetched those.
func (p *pair) intend(t *testing.T, dir, release string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.root, "examples/machines.yml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "machines.yml")
	changed := strings.Replace(string(text), "{name: demo, build: machine}", release, 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	p.with(t, "apply", "--prune", "-f", file)
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	for _, e := range []*lab.Node{p.first, p.second} {
		if err := e.AwaitSaid(ctx, "all files that machines are to boot are here"); err != nil {
			t.Fatal(err)
		}
	}
}

// local builds the machine's image in this process, and gives it to the farm as files.
func (p *pair) local(t *testing.T) {
	t.Helper()
	p.files(t)()
}

// files builds the machine's image in this process, and returns what gives it to the farm.
func (p *pair) files(t *testing.T, flags ...string) (give func()) {
	t.Helper()
	dir := p.buildFile(t, "examples/machine.yml", append([]string{"--arch", "amd64", "--format", "kernel+initrd"}, flags...)...)
	text, err := os.ReadFile(filepath.Join(dir, "machine-cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	release := fmt.Sprintf("{name: demo, platforms: {linux/amd64: {kernel: ./machine-kernel, initrd: [./machine-initrd.img], cmdline: %q}}}", strings.TrimSpace(string(text)))
	return func() { p.intend(t, dir, release) }
}

// machine is a machine of QEMU that boots in a room.
type machine struct {
	t     *testing.T
	cable *lab.Cable
	begun time.Time
	ended chan struct{}
	err   error // of QEMU, once ended is closed

	mu    sync.Mutex // guards what follows
	said  []line
	wrote chan struct{} // is closed when it says more
}

type line struct {
	at   time.Time
	text string
}

// retryingBIOS is a PC that boots from the network, and tries again when that failed.
func retryingBIOS() []string {
	args := slices.DeleteFunc(x86("-boot", "n,reboot-timeout=1000"), func(a string) bool { return a == "-no-reboot" })
	return append(args, "-netdev", "socket,id=n0,fd=3", "-device", "virtio-net-pci,netdev=n0,mac="+machineMAC)
}

// power switches a machine on. Whatever it says of packets, see is called first with each. It goes with the test.
func (p *pair) power(t *testing.T, args []string, see func(lab.Packet) bool) *machine {
	t.Helper()
	cable, err := p.room.Cable()
	if err != nil {
		t.Fatal(err)
	}
	cable.See(see)
	m := &machine{t: t, cable: cable, begun: time.Now(), ended: make(chan struct{}), wrote: make(chan struct{})}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.ExtraFiles = []*os.File{cable.Machine()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	started := make(chan error)
	go func() {
		defer close(m.ended)
		runtime.LockOSThread() // which the death signal of a child goes by
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			m.hear(scanner.Text())
		}
		m.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // mostly it has ended
		<-m.ended
		gone(t, cable.Close())
		if t.Failed() {
			t.Logf("the machine said:\n%s", m.text())
		}
	})
	return m
}

var escapes = regexp.MustCompile("\x1b[^A-Za-z]*[A-Za-z]|\r")

func (m *machine) hear(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, line{time.Now(), escapes.ReplaceAllString(text, "")})
	close(m.wrote)
	m.wrote = make(chan struct{})
}

// text is all that it said, with the seconds since it was switched on.
func (m *machine) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, l := range m.said {
		fmt.Fprintf(&b, "%6.1f %s\n", l.at.Sub(m.begun).Seconds(), l.text)
	}
	return b.String()
}

// until waits until it says the words, and returns when it did.
func (m *machine) until(words string, limit time.Duration) (at time.Time) {
	m.t.Helper()
	timeout := time.After(limit)
	for next := 0; ; {
		m.mu.Lock()
		fresh, wrote := m.said[next:], m.wrote
		next = len(m.said)
		m.mu.Unlock()
		for _, l := range fresh {
			if strings.Contains(l.text, words) {
				return l.at
			}
		}
		if len(fresh) > 0 {
			continue
		}
		select {
		case <-wrote:
		case <-m.ended:
			m.mu.Lock()
			over := next == len(m.said)
			m.mu.Unlock()
			if over {
				m.t.Fatalf("the machine ended (%v) and did not say %q", m.err, words)
			}
		case <-timeout:
			m.t.Fatalf("in %s the machine did not say %q", limit, words)
		}
	}
}

// off waits until it has switched itself off.
func (m *machine) off() {
	m.t.Helper()
	select {
	case <-m.ended:
		if m.err != nil {
			m.t.Errorf("QEMU ended with %v", m.err)
		}
	case <-time.After(bootLimit):
		m.t.Errorf("the machine did not switch itself off in %s", bootLimit)
	}
}
