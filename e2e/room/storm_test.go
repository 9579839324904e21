package room

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim"
	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	stormFew    = 100
	stormMany   = 1000
	stormLoader = 256 << 10 // bytes
	stormKernel = 2 << 20
	stormInitrd = 6 << 20
	stormLimit  = 4 * time.Minute

	tftpBlock = 1468            // bytes: what firmware asks for (EDK2, iPXE)
	tftpAgain = 2 * time.Second // until the last packet is sent again
	tftpTries = 15
)

// TestMachinesThatPowerOnAtOnceAllBoot: DHCP out of pools, a boot program by TFTP, and by HTTP the script, the kernel and the initrd,
// of machines that are switched on in one moment, behind relays, with two edges.
func TestMachinesThatPowerOnAtOnceAllBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("a farm of processes; not in -short")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: the farm and its machines need networks of their own: ", err)
	}
	machines := stormFew
	if os.Getenv("KILN_E2E") == "full" {
		machines = stormMany
	}
	ctx := t.Context()
	dir := t.TempDir()
	files := map[string][]byte{"snponly.efi": noise(1, stormLoader), "kernel": noise(2, stormKernel), "initrd": noise(3, stormInitrd)}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(ctx, t, dir, 1, setting{edges: 2, addresses: machines*2/3 + 20, lease: time.Hour, boot: 10 * time.Minute, store: true})
	room := filepath.Join(dir, "room.yml")
	text := "groups:\n  - {name: all, unknown: true, release: os}\nreleases:\n  - {name: os, platforms: {linux/amd64: {kernel: ./kernel, initrd: [./initrd], cmdline: quiet}}}\n"
	if err := os.WriteFile(room, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.command(t, "apply", "-f", room)
	for _, e := range w.farm.Edges() {
		if err := e.AwaitSaid(ctx, "all files that machines are to boot are here"); err != nil {
			t.Fatal(err)
		}
	}
	s := &storm{agent: w.agent, files: files}
	sim := dhcpsim.New(dhcpsim.Options{Seed: 1, Machines: machines, Networks: w.networks[:2], Spread: 100 * time.Millisecond, Pace: time.Hour, Honest: true, Quiet: true, Load: s.load},
		w.wire, history.New(w.pools...))
	living, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	s.begun = time.Now()
	go func() { sim.Run(living); close(done) }()
	left := machines
	for end := time.Now().Add(stormLimit); left > 0 && time.Now().Before(end); left = sim.Homeless(ctx) {
		time.Sleep(100 * time.Millisecond)
	}
	all := time.Since(s.begun)
	stop()
	<-done
	if left > 0 {
		t.Errorf("after %s %d machines have not booted", stormLimit, left)
	}
	for _, v := range sim.Model.Violations {
		t.Error(v)
	}
	if len(s.booted) == 0 {
		t.Fatalf("nobody has booted; the last boot failed: %v", s.last)
	}
	slices.Sort(s.booted)
	t.Logf("%d machines: the first has its system after %.1f s, the median after %.1f s, the last after %.1f s; all have addresses after %.1f s; %d boots failed (%v)",
		machines, s.booted[0].Seconds(), s.booted[len(s.booted)/2].Seconds(), s.booted[len(s.booted)-1].Seconds(), all.Seconds(), sim.Counts()["boots that failed"], s.last)
	stats := sim.Model.Stats
	if len(s.booted) < machines || stats.ACKs[history.Selecting] < 3*machines {
		t.Errorf("%d boots and %d ACKs of %d machines: not all did all of it", len(s.booted), stats.ACKs[history.Selecting], machines)
	}
	t.Logf("ACKs by edge: %v", stats.ServersThatGave)
	for _, e := range w.farm.Edges() {
		log, err := os.ReadFile(e.Log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, "does not keep up") {
				t.Logf("%s: %s", e.Name, line)
			}
			if strings.Contains(line, "exhausted") {
				t.Errorf("%s: %s", e.Name, line)
			}
		}
	}
}

// noise is data that no disk has twice.
func noise(seed byte, size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// storm is what machines load.
type storm struct {
	agent *lab.Guest
	files map[string][]byte
	begun time.Time

	mu     sync.Mutex // guards what follows
	booted []time.Duration
	last   error // of a boot that failed
}

// load is what firmware and iPXE do with what they were told by DHCP.
func (s *storm) load(ctx context.Context, l dhcpsim.Loading) error {
	var err error
	if l.IPXE {
		err = s.script(ctx, l)
	} else {
		err = s.tftp(ctx, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		s.last = fmt.Errorf("%s: %w", l.File, err)
	}
	if err == nil && l.IPXE {
		s.booted = append(s.booted, time.Since(s.begun))
	}
	return err
}

// tftp loads the boot program (RFC 1350, RFC 2348).
func (s *storm) tftp(ctx context.Context, l dhcpsim.Loading) error {
	server := l.Next
	if !server.IsValid() {
		server = l.Server
	}
	var conn *net.UDPConn
	err := s.agent.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Address, 0)))
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	to := netip.AddrPortFrom(server, 69)
	out := fmt.Appendf(nil, "\x00\x01%s\x00octet\x00blksize\x00%d\x00", l.File, tftpBlock)
	send := func() error { _, err := conn.WriteToUDPAddrPort(out, to); return err }
	var got bytes.Buffer
	next, buffer := uint16(1), make([]byte, 2048)
	for tries := 0; tries < tftpTries && ctx.Err() == nil; {
		if err := send(); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(tftpAgain))
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			tries++
			continue
		case err != nil:
			return err
		case n < 4 || from.Addr() != server || to.Port() != 69 && from != to:
			continue
		}
		to = from
		number := binary.BigEndian.Uint16(buffer[2:])
		switch op := binary.BigEndian.Uint16(buffer); {
		case op == 5:
			return fmt.Errorf("TFTP: %q", buffer[4:n])
		case op == 6:
			out, tries = []byte{0, 4, 0, 0}, 0
		case op == 3 && number == next:
			got.Write(buffer[4:n])
			out, tries = []byte{0, 4, byte(number >> 8), byte(number)}, 0
			if next++; n < 4+tftpBlock {
				if err := send(); err != nil || !bytes.Equal(got.Bytes(), s.files["snponly.efi"]) {
					return fmt.Errorf("%d bytes, not those of the boot program (%v)", got.Len(), err)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("TFTP: nothing comes any more after %d bytes", got.Len())
}

// script loads the script, and what it names.
func (s *storm) script(ctx context.Context, l dhcpsim.Loading) error {
	transport := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		inside := s.agent.Do(func() error {
			conn, err = (&net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.Address, 0))}).DialContext(ctx, network, address)
			return nil
		})
		return conn, errors.Join(inside, err)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var text bytes.Buffer
	if err := get(ctx, client, l.File, &text); err != nil {
		return err
	}
	urls := map[string][]string{} // by command: of one edge after the other
	for line := range strings.Lines(text.String()) {
		if command, rest, _ := strings.Cut(line, " "); command == "kernel" || command == "initrd" {
			if at := strings.Index(rest, "http://"); at >= 0 {
				urls[command] = append(urls[command], strings.Fields(rest[at:])[0])
			}
		}
	}
	for _, file := range []string{"kernel", "initrd"} {
		err := fmt.Errorf("the script names no %s: %s", file, text.String())
		for _, url := range urls[file] {
			same := &comparing{want: s.files[file]}
			if err = get(ctx, client, url, same); err == nil && len(same.want) > 0 {
				err = io.ErrUnexpectedEOF
			}
			if err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string, into io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	_, err = io.Copy(into, res.Body)
	return err
}

// comparing takes the bytes that it wants, and no others.
type comparing struct{ want []byte }

func (c *comparing) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(c.want, b) {
		return 0, errors.New("other bytes than those of the release")
	}
	c.want = c.want[len(b):]
	return len(b), nil
}
