package dhcp6

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// within calls f in a network namespace.
func within(name string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + name)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace %s: %w", name, err)
	}
	return errors.Join(f(), unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
}

func TestMachinesThatAreSwitchedOnAtOnce(t *testing.T) {
	w := newWire(t, "everybody")
	w.ip(t, "pc", "address add fd77::9/64 dev eth0 nodad")
	var relay *net.UDPConn
	if err := within(w.prefix+"pc", func() (err error) {
		relay, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[fd77::9]:547")))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	relay.SetReadBuffer(4 << 20)
	ask := func(i int) []byte {
		peer := fmt.Sprintf("fe80::11:22ff:fe33:%04x", i)
		p := packet(solicit, opt(clientID, hexa(fmt.Sprintf("0003 0001 02112233%04x", i))...), na(iaNA, 7), ipxeROM)
		return forward(0, "fd77::9", peer, p)
	}
	to := netip.MustParseAddrPort("[fd77::1]:547")
	b := make([]byte, 2000)
	heard := func(wait time.Duration) (peer string, ok bool) {
		relay.SetReadDeadline(time.Now().Add(wait))
		n, _, err := relay.ReadFromUDPAddrPort(b)
		if err != nil || n < relayHeader {
			return "", false
		}
		return string(b[18:34]), true
	}
	for end := time.Now().Add(20 * time.Second); ; { // until the edge is there
		relay.WriteToUDPAddrPort(ask(0), to)
		if _, ok := heard(100 * time.Millisecond); ok {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the edge does not hear")
		}
	}
	const machines = 2000
	start := time.Now()
	go func() {
		for i := range machines {
			relay.WriteToUDPAddrPort(ask(i), to)
		}
	}()
	seen := map[string]bool{}
	for len(seen) < machines {
		peer, ok := heard(time.Second)
		if !ok {
			break // the queue was full, or a buffer on the way: such a machine asks again
		}
		seen[peer] = true
	}
	t.Logf("%d of %d machines were answered at once, in %s", len(seen), machines, time.Since(start))
	if len(seen) < machines/10 {
		t.Errorf("got %d answers to %d machines", len(seen), machines)
	}
}
